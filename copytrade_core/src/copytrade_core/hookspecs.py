"""Every extension point. A plug-in implements those it wants, under the entry-point group ``copytrade``.

Each docstring has the same fields: *When*, *Where*, *Result*, *Failure*, parameters, returns, raises.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

from .connector import Exchange, ExchangeContext
from .model import ExchangeDescription

if TYPE_CHECKING:
    from .sim import Simulator, World

hookspec = pluggy.HookspecMarker("copytrade")
hookimpl = pluggy.HookimplMarker("copytrade")


@hookspec
def copytrade_describe_exchanges() -> Sequence[ExchangeDescription]:  # type: ignore[empty-body]
    """Describe the exchanges that this plug-in speaks to.

    When:    once, after the plug-in was loaded.
    Where:   the main thread; must not block.
    Result:  all plug-ins' answers together; the first plug-in to claim an id keeps it.
    Failure: this plug-in is left out and shown as failed; the others go on.

    :returns: one description an exchange.
    :raises ExchangeNameTaken: not by plug-ins; the host reports it for the second claimant.

    .. versionadded:: 0.1
    """


@hookspec(firstresult=True)
def copytrade_open_exchange(exchange: str, context: ExchangeContext) -> Exchange | None:
    """Open one exchange in one environment.

    When:    the first account on it is opened; once per exchange and environment.
    Where:   a worker thread; must not block: connections are made when first needed.
    Result:  the first plug-in to answer wins. Return ``None`` if *exchange* is not yours.
    Failure: the accounts on it are shown with the error; other exchanges go on.

    :param exchange: an id that some plug-in gave in `copytrade_describe_exchanges`.
    :param context: the environment, the symbol, the clocks and the overridden endpoints.
    :returns: the object that all accounts on this exchange share.
    :raises ConfigError: an endpoint is malformed.

    .. versionadded:: 0.1
    """


@hookspec
def copytrade_on_event(event: Mapping[str, Any]) -> None:
    """Observe what happens: copies, alarms, states. For notifiers.

    When:    after the event was journalled.
    Where:   the observer thread; may block, other observers wait but no order does.
    Result:  ignored.
    Failure: logged; the engine and the other observers go on.

    :param event: ``seq``, ``t`` (ISO 8601), ``kind``, ``text`` (English), ``what`` and its figures, from which
        `kinds.event_sentence` makes other languages; amounts are strings.
    :returns: nothing.
    :raises Exception: any; it is logged and dropped.

    .. versionadded:: 0.1
    """


@hookspec(firstresult=True)
def copytrade_master_key(data_dir: str) -> bytes | None:
    """Provide the 32-byte master key, for example from a key management service.

    When:    an engine starts, before the environment is asked.
    Where:   the main thread; may block for 30 s.
    Result:  the first plug-in to answer wins. Return ``None`` to leave it to the others.
    Failure: the engine does not start and shows the error.

    :param data_dir: the data directory whose vault is to be opened.
    :returns: exactly 32 bytes.
    :raises MasterKeyError: the key should be here and cannot be had.

    .. versionadded:: 0.1
    """


@hookspec
def copytrade_on_init(data_dir: str) -> Mapping[str, str]:  # type: ignore[empty-body]
    """Make what the plug-in itself keeps in a new data directory, and say what a person must note down.

    When:    ``copytrade init`` has made the data directory and its vault.
    Where:   the main thread of the command line; may block for a few seconds.
    Result:  all plug-ins' answers together, printed once and stored nowhere by the host.
    Failure: the directory stays as made, and the error is shown with the plug-in's name.

    :param data_dir: the new data directory, mode 0700.
    :returns: what is printed, by a name in lower case with underscores (``access_token``).
    :raises ConfigError: it cannot be made.

    .. versionadded:: 0.1
    """


@hookspec(firstresult=True)
def copytrade_open_simulator(exchange: str, world: World) -> Simulator | None:
    """Provide a wire-level simulator of an exchange.

    When:    ``copytrade simulate``, the demo and the tests start.
    Where:   the simulator's own process, before its event loop runs; must not block.
    Result:  the first plug-in to answer wins. Return ``None`` if *exchange* is not yours.
    Failure: the simulator does not start and shows the error.

    :param exchange: an id that some plug-in gave in `copytrade_describe_exchanges`.
    :param world: the market, the accounts' ledgers, the faults and the delays that all simulators share.
    :returns: the dialect: its routes, its addresses, its accounts' keys.
    :raises ConfigError: it cannot be simulated as asked.

    .. versionadded:: 0.1
    """
