"""Who imports whom, and what nobody calls: read from the sources themselves.

The arrows are those of ARCHITECTURE.md: plug-ins and the panel know the core, the core knows none of them, and only
the simulators serve HTTP. The bans keep time, chance, the network and binary floats behind their seams.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = {"copytrade_binance", "copytrade_bitget", "copytrade_notify"}
OURS = {"copytrade_core", "copytrade_webapp", *PLUGINS}
SOURCES = sorted(
    path for folder in ROOT.glob("*/src/*") if folder.name in OURS for path in folder.rglob("*.py") if path.is_file()
)

# Third-party packages that a distribution's code may import, and only these.
ALLOWED = {
    "copytrade_core": {"pluggy", "sqlalchemy", "websockets", "cattrs", "simplejson", "cryptography", "click", "rich"},
    "copytrade_binance": {"requests", "urllib3", "certifi", "websocket", "cryptography"},
    "copytrade_bitget": {"requests", "urllib3", "certifi", "websocket", "cryptography"},
    "copytrade_notify": {"requests", "click"},
    "copytrade_webapp": {
        "flask",
        "werkzeug",
        "jinja2",
        "markupsafe",
        "flask_smorest",
        "apispec",
        "webargs",
        "marshmallow",
        "flask_sock",
        "simple_websocket",
        "flask_babel",
        "babel",
        "flask_bootstrap",
        "limits",
        "joserfc",
        "prometheus_client",
        "sqlalchemy",
        "simplejson",
        "cryptography",
        "gunicorn",
        "click",
    },
}
# The parts of the core that are no engine: an engine that only trades works without them.
NOT_ENGINE = ("copytrade_core.sim", "copytrade_core.testing", "copytrade_core.cli")


@dataclass(frozen=True)
class Import:
    """One import statement: the module that makes it, what it names, and where."""

    module: str
    target: str
    where: str
    for_types_only: bool

    @property
    def distribution(self) -> str:
        return self.module.partition(".")[0]

    @property
    def package(self) -> str:
        return self.target.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.where}: {self.module} imports {self.target}"


def module_of(path: Path) -> str:
    parts = path.with_suffix("").parts
    inside = parts[parts.index("src") + 1 :]
    return ".".join(inside[:-1] if inside[-1] == "__init__" else inside)


def imports_of(path: Path) -> Iterator[Import]:
    module = module_of(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        where = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, alias.name, where, id(node) in typing_only)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = importlib.util.resolve_name("." * node.level + base, package)
            for alias in node.names:
                # ``from .sim import world`` names a module as well as ``from .sim.world import World`` does.
                yield Import(module, f"{base}.{alias.name}", where, id(node) in typing_only)


IMPORTS = [found for path in SOURCES for found in imports_of(path)]


def is_in(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def is_simulator(module: str) -> bool:
    """Whether a module belongs to a simulator: the core's toolkit, or a plug-in's dialect of it."""
    return is_in(module, "copytrade_core.sim") or module.partition(".")[2].startswith("sim")


def test_the_sources_are_found():
    assert {module_of(path).partition(".")[0] for path in SOURCES} == OURS
    assert len(IMPORTS) > 500


def test_nobody_imports_a_plug_in_but_itself():
    assert not [str(i) for i in IMPORTS if i.package in PLUGINS and i.distribution != i.package]


def test_the_core_imports_nothing_of_ours_but_itself():
    assert not [
        str(i) for i in IMPORTS if i.distribution == "copytrade_core" and i.package in OURS - {"copytrade_core"}
    ]


def test_the_core_knows_no_web_framework():
    web = {"flask", "flask_smorest", "flask_sock", "marshmallow", "gunicorn", "werkzeug", "jinja2"}

    assert not [str(i) for i in IMPORTS if i.distribution != "copytrade_webapp" and i.package in web]


def test_the_panel_is_a_client_of_the_engine_and_nothing_else():
    """It asks over the socket: no vault, no journal, no exchange and no key is within its reach."""
    told = {
        "api", "clock", "codec", "control.client", "control.protocol", "errors", "history_csv", "hookspecs", "kinds",
        "redaction", "settings", "views",
    }  # fmt: skip
    for_commands = {"cli.children", "cli.output", "cli.session"}
    found = [
        str(i)
        for i in IMPORTS
        if i.distribution == "copytrade_webapp"
        and i.package == "copytrade_core"
        and not is_in(i.target, *(f"copytrade_core.{name}" for name in told))
        and not (
            is_in(i.module, "copytrade_webapp.commands")
            and is_in(i.target, *(f"copytrade_core.{name}" for name in for_commands))
        )
    ]

    assert not found


def test_the_engine_needs_neither_simulators_nor_tests_nor_the_command_line():
    found = [
        str(i)
        for i in IMPORTS
        if i.distribution == "copytrade_core"
        and not is_in(i.module, *NOT_ENGINE)
        and is_in(i.target, *NOT_ENGINE)
        and not i.for_types_only
    ]

    assert not found


def test_a_plug_ins_trading_code_needs_no_simulator_and_no_engine_insides():
    """A plug-in is written against what plug-in authors are told of, so that anybody can write one."""
    told = {"accounts.budget", "clock", "connector", "errors", "hookspecs", "kinds", "model", "redaction"}
    allowed = ("copytrade_core.hookimpl", *(f"copytrade_core.{name}" for name in told))
    found = [
        str(i)
        for i in IMPORTS
        if i.distribution in PLUGINS
        and i.package == "copytrade_core"
        and not is_simulator(i.module)
        and not is_in(i.target, *allowed)
        and not i.target.startswith("copytrade_core.sim.")  # judged below
    ]

    assert not found


def test_a_simulator_is_imported_by_simulators_and_lazily_by_the_hook_that_opens_it():
    found = [
        str(i)
        for i in IMPORTS
        if i.package in OURS
        and is_simulator(i.target)
        and not is_simulator(i.module)
        and not i.for_types_only
        and not is_in(i.module, "copytrade_core.cli", "copytrade_core.testing")
        and not i.module.endswith(".plugin")
    ]

    assert not found


def test_only_simulators_serve_http():
    """An engine that only trades is installed without aiohttp."""
    found = [
        str(i)
        for i in IMPORTS
        if i.package == "aiohttp"
        and not is_simulator(i.module)
        and not i.for_types_only
        and not is_in(i.module, "copytrade_core.testing")
    ]

    assert not found


@pytest.mark.parametrize("distribution", sorted(ALLOWED))
def test_a_distribution_imports_only_what_it_declares(distribution):
    allowed = ALLOWED[distribution] | sys.stdlib_module_names | OURS
    found = [
        str(i)
        for i in IMPORTS
        if i.distribution == distribution
        and i.package not in allowed
        and not (i.package == "aiohttp" and is_simulator(i.module))
        and not (i.package in {"pytest", "aiohttp"} and is_in(i.module, "copytrade_core.testing"))
    ]

    assert not found


def test_the_packages_are_ours_and_not_the_folders_around_them():
    """The repository's root offers Python a folder ``copytrade_core`` of its own."""
    import copytrade_core

    assert copytrade_core.__file__ is not None


# --- what nobody calls ------------------------------------------------------------------------------------

# file: why it may. A file that no longer calls it must leave the list.
MAY_TELL_WALL_TIME = {
    "copytrade_core/src/copytrade_core/clock.py": "the seam: wall time for showing",
    "copytrade_core/src/copytrade_core/cli/local.py": "the demo's leader signs with its simulator's time",
    "copytrade_core/src/copytrade_core/cli/output.py": "how long ago, on the screen",
    "webapp/src/copytrade_webapp/access/limits.py": "the library that counts tries says by it when the next is free",
}
MAY_SLEEP = {
    "copytrade_binance/src/copytrade_binance/gateway.py": "stopping waits for the answers that are still to come",
    "copytrade_core/src/copytrade_core/cli/demo.py": "the scripted leader rests between two orders",
}
MAY_DRAW = {
    "copytrade_binance/src/copytrade_binance/api_socket.py": "jitter of rotation",
    "copytrade_binance/src/copytrade_binance/gateway.py": "jitter of reconnecting",
    "copytrade_binance/src/copytrade_binance/user_stream.py": "jitter of reconnecting and rotation",
    "copytrade_bitget/src/copytrade_bitget/user_stream.py": "jitter of reconnecting and rotation",
    "copytrade_core/src/copytrade_core/sim/world.py": "the simulators' seeded chance",
    "copytrade_core/src/copytrade_core/cli/demo.py": "the scripted leader's seeded chance",
    "copytrade_core/src/copytrade_core/cli/drill.py": "what a seed lets happen",
}
MAY_REQUEST = {
    "copytrade_binance/src/copytrade_binance/rest.py": "the plug-in's one HTTP client",
    "copytrade_bitget/src/copytrade_bitget/transport.py": "the plug-in's one HTTP client",
    "copytrade_notify/src/copytrade_notify/sender.py": "the plug-in's one HTTP client",
}
MAY_FLOAT = {
    "copytrade_core/src/copytrade_core/settings.py": "seconds of settings, after their text was checked",
    "copytrade_binance/src/copytrade_binance/sim.py": "seconds of faults",
    "copytrade_bitget/src/copytrade_bitget/sim.py": "seconds of faults",
    "copytrade_core/src/copytrade_core/sim/admin.py": "chances and seconds of faults",
    "copytrade_core/src/copytrade_core/sim/faults.py": "chances and seconds of faults",
    "copytrade_core/src/copytrade_core/trader.py": "the percentage in a sentence of the feed; no sum uses it",
}
WALL_TIME = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today"}
BANS = [
    pytest.param(WALL_TIME, MAY_TELL_WALL_TIME, id="wall-time"),
    pytest.param({"time.sleep"}, MAY_SLEEP, id="sleep"),
    pytest.param({"random."}, MAY_DRAW, id="random"),
    pytest.param({"requests."}, MAY_REQUEST, id="requests"),
    pytest.param({"float"}, MAY_FLOAT, id="float"),
]


def calls_of(path: Path) -> Iterator[tuple[str, int]]:
    """Yield what a file calls, by its imported name: ``from time import sleep`` does not hide it."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    }
    modules = {
        alias.asname: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.asname
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            text = ast.unparse(node.func)
            head, dot, rest = text.partition(".")
            full = names.get(head, modules.get(head, head)) + dot + rest
            yield full.removeprefix("datetime.") if full.startswith("datetime.datetime") else full, node.lineno


CALLS = {path: list(calls_of(path)) for path in SOURCES}


@pytest.mark.parametrize(("banned", "allowed"), BANS)
def test_nothing_goes_past_the_seams(banned, allowed):
    found: dict[str, list[str]] = {}
    for path, calls in CALLS.items():
        for name, line in calls:
            if any(name == word or (word.endswith(".") and name.startswith(word)) for word in banned):
                file = path.relative_to(ROOT).as_posix()
                found.setdefault(file, []).append(f"{file}:{line} calls {name}()")

    assert not [call for file, calls in found.items() if file not in allowed for call in calls]
    assert not set(allowed) - set(found), "these may, but do not: take them off the list"


MONEY = ("leader.ledger", "leader.fold", "copying.sizing", "copying.plan", "store.book", "store.schema",
         "accounts.balances", "model", "codec", "sim.ledger", "sim.matching")  # fmt: skip


@pytest.mark.parametrize("module", MONEY)
def test_no_binary_fraction_stands_in_the_money(module):
    """Neither ``float()`` nor a literal like ``0.1``: both would spoil a sum that has to come out to the last digit."""
    path = ROOT / "copytrade_core/src/copytrade_core" / f"{module.replace('.', '/')}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"))

    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is float]
    assert not [line for name, line in CALLS[path] if name == "float"]


def test_json_with_amounts_in_it_is_never_read_as_binary_fractions():
    """Every ``json.loads`` of a plug-in says what its numbers become."""
    found = []
    for path in SOURCES:
        if module_of(path).partition(".")[0] not in PLUGINS or is_simulator(module_of(path)):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and ast.unparse(node.func) in {"json.loads", "json.load"}
                and "parse_float" not in {keyword.arg for keyword in node.keywords}
            ):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")

    assert not found


def test_an_alias_hides_nothing(tmp_path):
    path = tmp_path / "hidden.py"
    path.write_text(
        "from time import sleep as rest\nimport requests as r\nfrom datetime import datetime\nimport datetime as dt\n"
        "def late():\n    from random import uniform\n    uniform()\n"
        "rest(1), r.get(''), datetime.now(), dt.datetime.now()\n"
    )

    assert {name for name, _ in calls_of(path)} == {"time.sleep", "requests.get", "datetime.now", "random.uniform"}
