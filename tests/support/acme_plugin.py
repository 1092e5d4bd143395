"""The plug-in that does not come with the engine, installed as its author would publish it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ACME = Path(__file__).parent.parent / "plugins" / "acme"


def install_acme(folder: Path) -> Path:
    """Have pip install the package `copytrade-acme` below *folder*; return the place to put on the path."""
    target = folder / "site"
    source = folder / "source" / "acme"  # building leaves files in the source folder
    shutil.copytree(ACME, source, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "build"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    pip += ["--no-deps", "--no-build-isolation", "--target", str(target), str(source)]
    done = subprocess.run(pip, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return target
