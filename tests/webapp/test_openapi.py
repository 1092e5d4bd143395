"""The OpenAPI document: valid, complete, and what a fuzzer finds when it holds the running panel to it."""

from __future__ import annotations

import contextlib
import re
from contextlib import ExitStack

import hypothesis
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from changing_engine import Engine
from copytrade_core.control.server import ControlServer
from copytrade_webapp.access.store import PanelStore
from panel_client import API, UNDOCUMENTED, panel_stage
from panel_process import free_port, running_panel
from sim_engine import copying

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 10
LONGEST_ADDRESS = 2000
SEED = 20261122


@pytest.fixture
def stage(tmp_path):
    with panel_stage(tmp_path / "data", Engine()) as stage:
        yield stage


def operations(document):
    return {
        (method.upper(), path): described
        for path, item in document["paths"].items()
        for method, described in item.items()
        if method in ("get", "post", "put", "patch", "delete")
    }


def test_the_document_is_valid_and_of_version_3_1(stage):
    assert stage.document["openapi"].startswith("3.1.")
    assert [str(error) for error in OpenAPIV31SpecValidator(stage.document).iter_errors()] == []


def test_every_call_is_in_the_document_and_nothing_else(stage):
    served = {
        (method, re.sub(r"<([^>]+)>", r"{\1}", rule.rule))
        for rule in stage.app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.rule.startswith(f"{API}/") and rule.rule not in UNDOCUMENTED
    }
    assert set(operations(stage.document)) == served
    assert len(served) > 40


def test_every_answer_is_described_as_what_it_is(stage):
    for (method, path), described in operations(stage.document).items():
        statuses = {int(status) for status in described["responses"]}
        assert {401, 403, 421, 429, 500} <= statuses and min(statuses) in (200, 201), path
        if method != "GET":
            assert {400, 409, 413, 422} <= statuses, path
        if "requestBody" in described:
            assert 415 in statuses, path
        if "{" in path:
            assert 404 in statuses, path
        if described.get("parameters") and any(each["in"] == "query" for each in described["parameters"]):
            assert 422 in statuses, path
        for status, answer in described["responses"].items():
            (media_type,) = answer["content"]
            wanted = "application/problem+json" if int(status) >= 400 else "application/json"
            assert media_type == ("text/csv" if path.endswith(".csv") and status == "200" else wanted), path
        assert described["summary"]
    ways = {name for way in stage.document["security"] for name in way}
    assert ways == set(stage.document["components"]["securitySchemes"])


def test_amounts_are_numbers_and_fields_are_named_after_the_assets(tmp_path):
    with panel_stage(tmp_path / "data", symbol="ETH/USDC") as stage:
        schemas = stage.document["components"]["schemas"]
    assert set(schemas["AccountRow"]["properties"]) >= {"freeUSDC", "freeETH", "freeETH_age_sec"}
    assert schemas["CopyRow"]["properties"]["filled_base"] == {"type": "number"}
    assert schemas["CopyRow"]["properties"]["sent"]["type"] == ["number", "null"]


@pytest.mark.slow
def test_a_fuzzer_finds_no_fault_of_ours_and_no_answer_that_is_not_described(tmp_path):
    """Against the processes as they run: gunicorn, the socket, an engine on simulators with a book to look at."""
    data_dir = tmp_path / "data"
    with ExitStack() as stack:
        setup = stack.enter_context(copying(data_dir, binance=1, bitget=1, tidy=True))
        event = setup.book(setup.leader_buys("1000"))
        stack.enter_context(ControlServer(setup.trader, data_dir))
        panel = stack.enter_context(running_panel(data_dir, f"127.0.0.1:{free_port()}"))
        store = PanelStore(data_dir / "panel.db")
        stack.callback(store.close)
        _, token = store.add_token("fuzzer")
        headers = {"Authorization": f"Bearer {token}"}
        # So that some examples find what they ask for.
        known = {
            "account_id": [account.id for account in setup.trader.list_accounts()],
            "event_id": [event.id],
            "copy_id": [copy.id for copy in event.copies],
            "device_id": ["1"],
            "token_id": ["1"],
        }
        schema = schemathesis.openapi.from_url(f"{panel.url}{API}/openapi.json", headers=headers)
        tried, statuses = set(), set()
        for result in schema.get_all_operations():
            operation = result.ok()
            for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
                with contextlib.suppress(Unsatisfiable):  # a call that takes nothing cannot be called wrongly
                    _fuzz(operation, mode, headers, known, statuses)
            tried.add((operation.method.upper(), operation.path))
        assert tried == set(operations(schema.raw_schema))
        assert {200, 404, 422} <= statuses
        assert "Traceback" not in panel.log()


def _fuzz(operation, mode, headers, known, statuses):
    strategy = operation.as_strategy(generation_mode=mode)
    if operation.path_parameters and mode is GenerationMode.POSITIVE:
        (name,) = [each.name for each in operation.path_parameters]
        strategy = strategy | strategy.flatmap(
            lambda case: hypothesis.strategies.sampled_from(known[name]).map(
                lambda each: (case.path_parameters.update({name: each}), case)[1]
            )
        )

    @hypothesis.seed(SEED)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate],
    )
    @hypothesis.given(strategy)
    def run(case):
        # What is longer is refused by the server (414): the panel never sees it.
        url = requests.Request(**case.as_transport_kwargs(headers=headers)).prepare().url
        hypothesis.assume(len(url) < LONGEST_ADDRESS)
        answer = case.call_and_validate(headers=headers, checks=CHECKS, timeout=20)
        statuses.add(answer.status_code)

    run()
