"""Plug-ins: each loaded for itself, whatever a stranger's module does, and none silently wrong."""

from __future__ import annotations

import sys
import textwrap
from importlib.metadata import EntryPoint

import pytest

from copytrade_core.errors import ExchangeNameTaken, PluginLoadFailed, UnknownExchange
from copytrade_core.hookspecs import hookimpl
from copytrade_core.model import CredentialField, Environment, ExchangeDescription
from copytrade_core.plugins import Plugins

FIELDS = (CredentialField(name="api_key", label="API key", label_zh="API Key"),)


def description(exchange: str) -> ExchangeDescription:
    return ExchangeDescription(
        id=exchange,
        name=exchange.title(),
        name_zh=exchange,
        environments=(Environment.TEST, Environment.PROD),
        credential_fields=FIELDS,
    )


class Good:
    """A plug-in that speaks to one exchange."""

    def __init__(self, exchange: str = "acme") -> None:
        self.exchange = exchange
        self.opened: list = []

    @hookimpl
    def copytrade_describe_exchanges(self):
        return [description(self.exchange)]

    @hookimpl
    def copytrade_open_exchange(self, exchange, context):
        self.opened.append(exchange)
        return f"{self.exchange} opened" if exchange == self.exchange else None


class Context:
    environment = Environment.TEST


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module and return the entry point that names it."""
    monkeypatch.syspath_prepend(tmp_path)
    names = []

    def write(name: str, source: str) -> EntryPoint:
        names.append(name)
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(source))
        return EntryPoint(name=name, value=name, group="copytrade")

    yield write
    for name in names:
        sys.modules.pop(name, None)


SOUND = """
    from copytrade_core.hookspecs import hookimpl
    from copytrade_core.model import CredentialField, Environment, ExchangeDescription

    @hookimpl
    def copytrade_describe_exchanges():
        yield ExchangeDescription(
            id="sound", name="Sound", name_zh="x", environments=(Environment.TEST,),
            credential_fields=(CredentialField(name="api_key", label="k", label_zh="k"),),
        )

    @hookimpl
    def copytrade_open_exchange(exchange):
        return "sound opened" if exchange == "sound" else None
"""


@pytest.mark.parametrize(
    ("source", "error"),
    [
        pytest.param("import a_module_that_is_not_there", "ModuleNotFoundError", id="does-not-import"),
        pytest.param("1 / 0", "ZeroDivisionError", id="fails-at-import"),
        pytest.param("def (", "SyntaxError", id="is-no-python"),
        pytest.param("import sys; sys.exit(3)", "SystemExit", id="ends-the-program"),
        pytest.param(
            """
            from copytrade_core.hookspecs import hookimpl
            @hookimpl
            def copytrade_describe_exchange():
                return []
            """,
            "PluginLoadFailed",
            id="misspells-a-hook",
        ),
        pytest.param(
            """
            from copytrade_core.hookspecs import hookimpl
            @hookimpl
            def copytrade_open_exchange(exchange, contex):
                return "mine"
            """,
            "PluginLoadFailed",
            id="misspells-a-parameter",
        ),
        pytest.param(
            """
            from copytrade_core.hookspecs import hookimpl
            @hookimpl
            def copytrade_describe_exchanges():
                raise RuntimeError("not today")
            """,
            "not today",
            id="fails-to-describe",
        ),
        pytest.param(
            """
            from copytrade_core.hookspecs import hookimpl
            @hookimpl
            def copytrade_describe_exchanges():
                return ["sound"]
            """,
            "AttributeError",
            id="describes-with-a-word",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_broken_plug_in_is_shown_and_hurts_nobody(module, source, error):
    plugins = Plugins()
    broken, sound = module("broken", source), module("sound", SOUND)

    for entry_point in (broken, sound):
        plugins.load(entry_point)

    shown, fine = plugins.reports
    assert (shown.name, shown.exchanges) == ("broken", ())
    assert error in shown.error
    assert (fine.name, fine.exchanges, fine.error) == ("sound", ("sound",), "")
    assert plugins.open_exchange("sound", Context()) == "sound opened"


def test_a_plug_in_that_failed_answers_no_hook(module):
    """It was refused for one hook that is wrong; its others must not take part either."""
    plugins = Plugins()
    plugins.load(
        module(
            "half",
            """
            from copytrade_core.hookspecs import hookimpl
            @hookimpl
            def copytrade_master_key(data_dir):
                return b"x" * 32
            @hookimpl
            def copytrade_open_exchange(exchange, contex):
                return "hijacked"
            """,
        )
    )
    good = Good()
    plugins.register(good, "good")

    assert plugins.reports[0].error
    assert plugins.hook.copytrade_master_key(data_dir="") is None
    assert plugins.open_exchange("acme", Context()) == "acme opened"


def test_registering_refuses_what_loading_would_report():
    class Misspelt:
        @hookimpl
        def copytrade_open_exchanges(self, exchange):
            return None

    class WrongParameter:
        @hookimpl
        def copytrade_open_exchange(self, exchnge):
            return None

    for plugin in (Misspelt(), WrongParameter()):
        plugins = Plugins()
        with pytest.raises(PluginLoadFailed):
            plugins.register(plugin, "wrong")
        plugins.register(Good(), "good")
        assert plugins.open_exchange("acme", Context()) == "acme opened"


def test_the_first_to_claim_an_exchange_keeps_it():
    plugins = Plugins()
    first, second = Good(), Good()
    plugins.register(first, "first")

    with pytest.raises(ExchangeNameTaken):
        plugins.register(second, "second")

    plugins.open_exchange("acme", Context())
    assert (first.opened, second.opened) == (["acme"], [])


def test_of_two_names_of_which_one_is_taken_none_is_kept():
    class Greedy(Good):
        @hookimpl
        def copytrade_describe_exchanges(self):
            return [description("other"), description("acme")]

    plugins = Plugins()
    plugins.register(Good(), "good")
    with pytest.raises(ExchangeNameTaken):
        plugins.register(Greedy(), "greedy")

    assert set(plugins.exchanges) == {"acme"}


def test_an_unknown_exchange_or_environment_is_refused_with_those_there_are():
    plugins = Plugins()
    with pytest.raises(UnknownExchange, match="none is installed"):
        plugins.describe("acme")
    plugins.register(Good(), "good")

    with pytest.raises(UnknownExchange, match="known: acme"):
        plugins.describe("acne")
    with pytest.raises(UnknownExchange, match="test, prod") as refused:
        plugins.describe("acme", "demo")
    assert refused.value.kind == "unknown_environment"
    assert plugins.describe("acme", "test").id == "acme"


def test_an_exchange_that_nobody_opens_is_an_error_and_not_nothing():
    class Shy(Good):
        @hookimpl
        def copytrade_open_exchange(self, exchange, context):
            return None

    plugins = Plugins()
    plugins.register(Shy(), "shy")

    with pytest.raises(UnknownExchange, match="opened"):
        plugins.open_exchange("acme", Context())


def test_the_exchanges_that_are_shown_cannot_be_changed_from_outside():
    plugins = Plugins()
    plugins.register(Good(), "good")

    plugins.exchanges.clear()

    assert set(plugins.exchanges) == {"acme"}


def test_the_installed_plug_ins_are_found_and_sound():
    plugins = Plugins.discover()

    assert {report.name: report.error for report in plugins.reports if report.distribution.startswith("copytrade")} == {
        "binance": "",
        "bitget": "",
        "notify": "",
        "panel": "",
    }
    assert plugins.exchanges["binance"].can_lead
    assert [str(environment) for environment in plugins.exchanges["bitget"].environments] == ["prod", "demo"]
