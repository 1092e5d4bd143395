"""The README's example is run as it stands."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import sys
from pathlib import Path

from copytrade_core import Vault
from copytrade_core.sim import running_simulators
from memory_exchange import until
from sim_engine import MASTER_KEY

ROOT = Path(__file__).resolve().parents[2]


def test_the_example_copies_an_order(tmp_path, monkeypatch):
    example = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    assert len(example[1].splitlines()) <= 12
    with running_simulators(binance_followers=0, bitget_followers=1) as sims:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COPYTRADE_ENDPOINTS", sims["endpoints_file"])
        key_file = tmp_path / "master.key"
        key_file.write_bytes(base64.b64encode(MASTER_KEY))
        key_file.chmod(0o600)
        monkeypatch.setenv("COPYTRADE_MASTER_KEY_FILE", str(key_file))
        (tmp_path / "data").mkdir()
        Vault.create(tmp_path / "data" / "vault.json", MASTER_KEY)
        follower = {name: value for name, value in sims["bitget"]["followers"][0].items() if name != "mode"}
        (tmp_path / "leader.json").write_text(json.dumps(sims["binance"]["leader"]))
        (tmp_path / "anna.json").write_text(json.dumps(follower))

        class Enter(io.StringIO):
            """Presses Enter when the follower's copy is executed."""

            def readline(self, *_: object) -> str:
                sims.place("leader", side="BUY", quote=500)
                until(lambda: sims.truth("bitget-1")["orders"], 20)
                until(lambda: "FILLED" in printed.getvalue(), 20)
                return "\n"

        printed = io.StringIO()
        monkeypatch.setattr(sys, "stdin", Enter())
        with contextlib.redirect_stdout(printed):
            exec(compile(example[1], "README.md", "exec"), {"__name__": "__main__"})

        assert "Anna BUY FILLED" in printed.getvalue()
