"""The drill itself: a few rounds of two seeds against a real engine process."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "rounds"), [pytest.param(13, 1, id="stopped"), pytest.param(4, 1, id="killed")])
def test_a_short_drill_finds_nothing(tmp_path, seed, rounds):
    what = ["drill", "--seed", str(seed), "--rounds", str(rounds), "--json"]
    command = [sys.executable, "-m", "copytrade_core.cli.main", *what]

    done = subprocess.run([*command, "--keep", tmp_path / "drill"], capture_output=True, text=True, timeout=500)

    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    assert result["findings"] == []
    assert result["rounds"] == rounds
    assert result["done"]["leader orders"] > 1
    assert result["copies"]["FILLED"] > 0
