"""Who makes many changes at once holds up nobody else: least of all a stop."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from flask import Flask, g, request

from copytrade_webapp.access import once as module
from copytrade_webapp.access.once import HEADER, Once
from copytrade_webapp.problems import init_problems


@pytest.fixture
def client(monkeypatch):
    """Two who make changes, told apart by a header, three names each."""
    monkeypatch.setattr(module, "MOST", 3)
    app, once = Flask("once"), Once()
    init_problems(app)
    once.init(app)
    done = []

    @app.before_request
    def check():
        g.principal = SimpleNamespace(session_id="", token_id=request.headers["Who"])
        return once.begin()

    @app.post("/change")
    def change():
        done.append(request.headers[HEADER])
        return {"done": len(done)}

    return app.test_client()


def change(client, who, name):
    return client.post("/change", headers={"Who": who, HEADER: name})


def test_one_who_has_used_up_its_names_keeps_nobody_else_from_a_change(client):
    for number in range(3):
        assert change(client, "program", f"name {number}").status_code == 200

    assert change(client, "program", "one too many").status_code == 429
    assert change(client, "trader", "stop").status_code == 200


def test_the_same_name_of_two_is_two_changes(client):
    first, second = change(client, "program", "stop"), change(client, "trader", "stop")

    assert (first.json, second.json) == ({"done": 1}, {"done": 2})
    assert change(client, "program", "stop").json == {"done": 1}
