"""Health and metrics: outside of the API, without login, and without anything that is nobody's business."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from flask import Flask, Response, request
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from copytrade_core.errors import CopytradeError
from copytrade_core.views import AccountState, MetricsView

from .access.certificates import is_local
from .exact_json import dumps
from .panel import Panel
from .problems import Problem

log = logging.getLogger(__name__)


def init_health(app: Flask, panel: Panel) -> None:
    """Add ``/livez``, ``/readyz``, ``/api/status`` and ``/metrics``."""
    registry = CollectorRegistry()
    registry.register(EngineCollector(panel))

    @app.get("/livez")
    def livez() -> Response:
        """The panel answers."""
        return _json({"status": "ok"}, 200)

    @app.get("/readyz")
    def readyz() -> Response:
        """The panel answers, and so does the engine."""
        ready = panel.link.state.connected
        return _json({"status": "ok" if ready else "engine_not_running"}, 200 if ready else 503)

    @app.get("/api/status")
    def api_status() -> Response:
        """In short, for whoever watches over the machine: no balance and no account."""
        state = panel.link.state
        shape: dict[str, object] = {"status": "ok", "engine": {"connected": state.connected, "since": state.since}}
        if state.connected:
            try:
                status = panel.link.trader.status(with_followers=False)
            except CopytradeError:
                shape["status"] = "degraded"
            else:
                heard = status.leader is not None and status.leader.connected
                shape |= {"running": status.running, "halted": bool(status.halts), "leader_connected": heard}
        else:
            shape["status"] = "degraded"
        return _json(shape, 200)

    @app.get("/metrics")
    def metrics() -> Response:
        """For Prometheus on this machine; a proxy must not pass it on."""
        if not is_local(request, panel.settings):
            raise Problem(404, "not_found", "metrics are for this machine")
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


def _json(value: object, status: int) -> Response:
    response = Response(dumps(value), status=status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response


class EngineCollector(Collector):
    """Asks the engine when it is asked: nothing is counted twice, and a restart of the panel loses nothing."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel

    def collect(self) -> Iterator[Metric]:
        view = None
        if self._panel.link.state.connected:
            try:
                view = self._panel.link.trader.metrics()
            except CopytradeError as error:
                log.warning("the engine did not answer with its figures: %s", error.message)
        yield _gauge("copytrade_engine_up", "whether the engine answers", view is not None)
        yield _gauge("copytrade_panel_streams", "open live streams", self._panel.hub.viewers)
        if view is not None:
            yield from _engine(view)


def _engine(view: MetricsView) -> Iterator[Metric]:
    yield _gauge("copytrade_copying", "whether copying is on", view.running)
    yield _gauge("copytrade_halted", "whether something keeps the engine from trading", view.halted)
    yield _gauge("copytrade_leader_connections", "connections that prove to hear the leader", view.leader_connections)
    yield _gauge("copytrade_unsettled_copies", "copies whose outcome is being found out", view.unsettled)
    yield _gauge("copytrade_needs_person", "copies and orders that wait for a person", view.needs_person)
    yield _gauge("copytrade_journal_queue", "writes that wait for the journal", view.journal_queue)
    yield _gauge("copytrade_journal_seconds", "how long the journal's last write took", view.journal_write_sec)
    copies = CounterMetricFamily(
        "copytrade_copies", "copies by how they ended, since the journal began", labels=["state"]
    )
    for name, count in view.copies.items():
        copies.add_metric([name], count)
    yield copies
    accounts = GaugeMetricFamily("copytrade_accounts", "followers by state", labels=["state"])
    for account_state in AccountState:
        accounts.add_metric([account_state.value], view.accounts.get(account_state.value, 0))
    yield accounts
    latency = HistogramMetricFamily(
        "copytrade_latency_seconds",
        "from the leader's final report heard, by step, since the engine began",
        labels=["step"],
    )
    for step, histogram in view.latency.items():
        buckets = [(bound, count) for bound, count in histogram.buckets.items()]
        latency.add_metric([step], buckets=[*buckets, ("+Inf", histogram.count)], sum_value=histogram.sum_sec)
    yield latency
    used = GaugeMetricFamily(
        "copytrade_request_weight_used", "of the window that ends now", labels=["exchange", "limit"]
    )
    limit = GaugeMetricFamily("copytrade_request_weight_limit", "of a window", labels=["exchange", "limit"])
    for budget in view.budgets:
        used.add_metric([budget.exchange, budget.name], budget.used)
        limit.add_metric([budget.exchange, budget.name], budget.limit)
    yield from (used, limit)
    age = GaugeMetricFamily(
        "copytrade_balance_age_seconds", "of the oldest balance of an active follower", labels=["exchange"]
    )
    for label, seconds in view.oldest_balance_sec.items():
        age.add_metric([label], seconds)
    yield age
    pushed = GaugeMetricFamily(
        "copytrade_accounts_pushed", "active followers whose events are pushed", labels=["exchange"]
    )
    for label, count in view.pushed.items():
        pushed.add_metric([label], count)
    yield pushed


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
