"""What a drill says and leaves when something is wrong."""

from __future__ import annotations

import contextlib

import pytest
from click.testing import CliRunner

from copytrade_core.cli import drill as module
from copytrade_core.errors import EngineNotRunning


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run the command with rounds that only do what *happens* says; nothing is started."""

    def run(happens):
        class Scripted(module.Drill):
            def set_up(self):
                pass

            def round(self):
                self.rounds += 1
                happens(self)

            def look_for_secrets(self):
                self.looked = True

        monkeypatch.setattr(module, "Drill", Scripted)
        monkeypatch.setattr(module, "end_properly_when_told", lambda: None)
        simulated = {"admin": "", "endpoints_file": "", "binance": {}, "bitget": {}}
        monkeypatch.setattr(module, "simulators", lambda *_: contextlib.nullcontext(simulated))
        arguments = ["--seed", "7", "--rounds", "3", "--keep", str(tmp_path / "kept")]
        return CliRunner().invoke(module.drill, arguments)

    return run


def test_a_drill_that_finds_nothing_says_so(run):
    result = run(lambda drill: None)

    assert result.exit_code == 0
    assert "Nothing was doubled" in result.output
    assert "3 rounds" in result.output


def test_a_finding_ends_a_drill_and_says_how_to_repeat_it(run):
    result = run(lambda drill: drill.found.append("round 2: DOUBLED") if drill.rounds == 2 else None)

    assert result.exit_code == 1
    assert "wrong: round 2: DOUBLED" in result.output
    assert "copytrade drill --seed 7 --rounds 2 --keep FOLDER" in result.output
    assert "Nothing was doubled" not in result.output


def test_an_engine_that_does_not_come_back_is_a_finding(run):
    def gone(drill):
        raise EngineNotRunning("no engine is running here")

    result = run(gone)

    assert result.exit_code == 1
    assert "wrong: round 1: no engine is running here" in result.output
    assert "--rounds 1" in result.output
