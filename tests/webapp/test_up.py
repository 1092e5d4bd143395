"""``copytrade up`` as it runs: engine and panel as processes, and what becomes of the one without the other."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading

import pytest
import requests

from memory_exchange import until
from panel_process import free_port, running_panel

# Not through the entry points: these tests also run where nothing is installed.
COPYTRADE = """
from copytrade_core.cli.main import main
from copytrade_webapp.commands.panel import panel
from copytrade_webapp.commands.tokens import tokens
from copytrade_webapp.commands.up import up
for command in (panel, tokens, up):
    main.add_command(command)
main()
"""


def environment(folder, **given):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COPYTRADE_", "PANEL_", "APP_"))}
    path = os.pathsep.join(each for each in sys.path if each)
    return {**kept, "PYTHONPATH": path, "HOME": str(folder), "PYTHONUNBUFFERED": "1", **given}


def copytrade(folder, *arguments, **environ):
    done = subprocess.run(
        [sys.executable, "-c", COPYTRADE, "--data-dir", str(folder / "data"), *arguments],
        env=environment(folder, **environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_login_link_leads_to_where_the_panel_listens(tmp_path):
    bind = f"127.0.0.1:{free_port()}"
    address = tmp_path / "data" / "panel.addr"

    with running_panel(tmp_path / "data", bind):
        assert address.stat().st_mode & 0o777 == 0o600
        link = copytrade(tmp_path, "tokens", "login-link")
        public = copytrade(tmp_path, "tokens", "login-link", PANEL_PUBLIC_URL="https://panel.example.org")

    assert link.startswith(f"http://{bind}/login#code=")
    assert public.startswith("https://panel.example.org/login#code=")
    assert not address.exists()


def test_a_panel_that_others_can_reach_without_tls_warns(tmp_path):
    port = free_port()
    with running_panel(tmp_path / "near", f"127.0.0.1:{port}") as near:
        assert "without TLS" not in near.log()
    with running_panel(tmp_path / "far", f"0.0.0.0:{port}", PANEL_PUBLIC_URL=f"http://127.0.0.1:{port}") as far:
        assert f"listens on 0.0.0.0:{port} without TLS" in far.log()


@pytest.fixture
def up(tmp_path):
    copytrade(tmp_path, "init", "--key-file", str(tmp_path / "master.key"))
    process = subprocess.Popen(
        [sys.executable, "-c", COPYTRADE, "--data-dir", str(tmp_path / "data"), "up", "--bind",
         f"127.0.0.1:{free_port()}"],
        env=environment(tmp_path, COPYTRADE_MASTER_KEY_FILE=str(tmp_path / "master.key")),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    said = []
    reader = threading.Thread(target=lambda: said.extend(process.stdout), daemon=True)
    reader.start()
    yield process, lambda: "".join(said)
    if process.poll() is None:
        process.terminate()
    process.wait(60)
    reader.join()
    process.stdout.close()


def test_the_panel_stays_and_says_so_when_the_engine_is_killed(up):
    process, said = up
    until(lambda: "Another link" in said(), 60)
    engine, url = re.search(r"process ([0-9]+)\), the panel is at (\S+);", said()).groups()
    until(lambda: requests.get(f"{url}/readyz", timeout=20).status_code == 200, 20)

    os.kill(int(engine), signal.SIGKILL)

    until(lambda: "the engine has ended (killed by signal 9)" in said(), 20)
    assert "copytrade engine" in said()
    assert requests.get(f"{url}/livez", timeout=20).status_code == 200
    until(lambda: requests.get(f"{url}/readyz", timeout=20).status_code == 503, 20)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 1
    assert said().count("the engine has ended") == 1
