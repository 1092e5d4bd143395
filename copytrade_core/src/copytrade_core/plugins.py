"""Find plug-ins, load them one by one, and report what failed without stopping the rest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType

import pluggy

from . import hookspecs
from .connector import Exchange, ExchangeContext
from .errors import ExchangeNameTaken, PluginLoadFailed, UnknownExchange
from .model import ExchangeDescription

GROUP = "copytrade"


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginReport:
    """What became of one entry point; ``error`` is empty where all is well."""

    name: str
    distribution: str
    version: str
    exchanges: tuple[str, ...] = ()
    error: str = ""


class Plugins:
    """The loaded plug-ins and the hooks that they answer."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(GROUP)
        self._manager.add_hookspecs(hookspecs)
        self._reports: list[PluginReport] = []
        self._descriptions: dict[str, ExchangeDescription] = {}

    @classmethod
    def discover(cls) -> Plugins:
        """Load every installed plug-in of the entry-point group ``copytrade``."""
        plugins = cls()
        # Sorted: which of two claimants keeps an exchange's name must not depend on the file system.
        for entry_point in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
            plugins.load(entry_point)
        return plugins

    def load(self, entry_point: EntryPoint) -> None:
        """Load one entry point; what goes wrong is in `reports`, never raised."""
        try:
            module = entry_point.load()
            self._register(module, entry_point.name)
            exchanges = self._describe(module)
        # Whatever a stranger's module does at import, leaving included, must not stop the others.
        except (Exception, SystemExit) as error:
            self._report(entry_point, error=f"{type(error).__name__}: {error}")
        else:
            self._report(entry_point, exchanges=exchanges)

    def register(self, plugin: ModuleType | object, name: str) -> None:
        """Add a plug-in object directly: for tests and for programs that embed the engine.

        :raises PluginLoadFailed: it implements a hook that does not exist, or with wrong parameters.
        """
        self._register(plugin, name)
        exchanges = self._describe(plugin)
        self._reports.append(PluginReport(name=name, distribution="", version="", exchanges=exchanges))

    @property
    def reports(self) -> tuple[PluginReport, ...]:
        return tuple(self._reports)

    @property
    def exchanges(self) -> dict[str, ExchangeDescription]:
        return dict(self._descriptions)

    @property
    def hook(self) -> pluggy.HookRelay:
        return self._manager.hook

    def describe(self, exchange: str, environment: str | None = None) -> ExchangeDescription:
        """Return the description of *exchange*, checked for *environment*.

        :raises UnknownExchange: no plug-in has it; the message names those there are.
        """
        description = self._descriptions.get(exchange)
        if description is None:
            known = ", ".join(sorted(self._descriptions)) or "none is installed"
            raise UnknownExchange(f"no plug-in knows the exchange {exchange!r}; known: {known}", exchange=exchange)
        if environment is not None and environment not in description.environments:
            known = ", ".join(description.environments)
            raise UnknownExchange(
                f"{description.name} has no environment {environment!r}; choose one of: {known}",
                kind="unknown_environment",
                exchange=exchange,
            )
        return description

    def open_exchange(self, exchange: str, context: ExchangeContext) -> Exchange:
        """Open *exchange* through its plug-in. :raises UnknownExchange: nobody answers to it."""
        self.describe(exchange, context.environment)
        opened: Exchange | None = self.hook.copytrade_open_exchange(exchange=exchange, context=context)
        if opened is None:
            raise UnknownExchange(f"no plug-in opened the exchange {exchange!r}", exchange=exchange)
        return opened

    def _register(self, plugin: object, name: str) -> None:
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            if self._manager.is_registered(plugin):
                self._manager.unregister(plugin)
            raise PluginLoadFailed(
                f"the plug-in {name!r} implements a hook that does not exist, or with other parameters: {error}"
            ) from error

    def _describe(self, plugin: object) -> tuple[str, ...]:
        implementation = getattr(plugin, "copytrade_describe_exchanges", None)
        if implementation is None:
            return ()
        try:
            described: Sequence[ExchangeDescription] = tuple(implementation())
            for description in described:
                if description.id in self._descriptions:
                    raise ExchangeNameTaken(f"another plug-in already provides {description.id!r}")
            for description in described:
                self._descriptions[description.id] = description
            return tuple(description.id for description in described)
        except Exception:
            self._manager.unregister(plugin)
            raise

    def _report(self, entry_point: EntryPoint, *, exchanges: tuple[str, ...] = (), error: str = "") -> None:
        distribution = entry_point.dist
        self._reports.append(
            PluginReport(
                name=entry_point.name,
                distribution=distribution.name if distribution else "",
                version=distribution.version if distribution else "",
                exchanges=exchanges,
                error=error,
            )
        )
