"""Start and stop the simulators: one server an exchange and one for the admin API, all in one event loop."""

from __future__ import annotations

import asyncio
import json
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import web

from ..plugins import Plugins
from .admin import Admin
from .simulator import Simulator
from .world import World

T = TypeVar("T")
Factory = Callable[[World], Simulator]

HOST = "127.0.0.1"
START_TIMEOUT_SEC = 20


class SimulatorServer:
    """All simulators of one run. `start` and `stop` run in the event loop that serves them."""

    def __init__(self, world: World, simulators: Mapping[str, Simulator]) -> None:
        self.world = world
        self.simulators = dict(simulators)
        self.info: dict[str, Any] = {}
        self._runners: list[web.AppRunner] = []
        self._endpoints_file: Path | None = None

    async def start(self, followers: Mapping[str, int], port: int = 0) -> dict[str, Any]:
        """Open the accounts, listen, and return all addresses and keys.

        :param followers: how many accounts on which exchange; the exchange that can lead also gets a leader.
        :param port: of the first exchange; the others and the admin API follow. 0: any free ones.
        """
        info: dict[str, Any] = {}
        overrides: dict[str, dict[str, dict[str, str]]] = {}
        for number, exchange in enumerate(followers):
            simulator = self.simulators.get(exchange)
            if simulator is None:
                continue  # its plug-in is not installed; the port stays free for it
            app = web.Application(client_max_size=1 << 20)
            simulator.add_routes(app)
            origin = await self._listen(app, port and port + number)
            endpoints = simulator.endpoints(origin)
            overrides[exchange] = {simulator.environment: endpoints}
            info[exchange] = {"env": simulator.environment, **endpoints}
            if simulator.can_lead:
                info[exchange]["leader"] = simulator.add_credentials(simulator.open_account("leader", "leader"))
            info[exchange]["followers"] = [
                simulator.add_credentials(simulator.open_account(f"{exchange}-{count}", "follower", count))
                for count in range(1, followers[exchange] + 1)
            ]
        admin = Admin(self.world, self.simulators).application()
        info["admin"] = await self._listen(admin, port and port + len(followers))
        with tempfile.NamedTemporaryFile(
            "w", prefix="copytrade-endpoints-", suffix=".json", delete=False, encoding="utf-8"
        ) as file:
            json.dump(overrides, file)
        self._endpoints_file = Path(file.name)
        info["endpoints_file"] = file.name
        self.info = info
        return info

    async def stop(self) -> None:
        """Close all connections and remove the endpoints file."""
        self.world.stopping.set()
        for simulator in self.simulators.values():
            await simulator.stop()
        for runner in self._runners:
            await runner.cleanup()
        if self._endpoints_file is not None:
            self._endpoints_file.unlink(missing_ok=True)

    async def _listen(self, app: web.Application, port: int) -> str:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, keepalive_timeout=75)
        await runner.setup()
        self._runners.append(runner)
        await web.TCPSite(runner, HOST, port, backlog=1024).start()
        return f"http://{HOST}:{runner.addresses[0][1]}"


def open_simulators(
    world: World, exchanges: Mapping[str, int], factories: Mapping[str, Factory] | None = None
) -> dict[str, Simulator]:
    """Return the simulators of *exchanges*, from *factories* or else from the installed plug-ins."""
    if factories is not None:
        return {exchange: factories[exchange](world) for exchange in exchanges if exchange in factories}
    hook = Plugins.discover().hook
    opened = {exchange: hook.copytrade_open_simulator(exchange=exchange, world=world) for exchange in exchanges}
    return {exchange: simulator for exchange, simulator in opened.items() if simulator is not None}


def simulate_forever(
    *,
    binance_followers: int,
    bitget_followers: int,
    port: int,
    seed: int,
    on_ready: Callable[[dict[str, Any]], None],
) -> None:
    """Serve until SIGTERM or SIGINT; call *on_ready* once with all addresses and keys.

    :param port: of Binance; Bitget is one above and the admin API two. 0: any free ones.
    :raises OSError: a port is taken.
    """
    asyncio.run(
        _serve({"binance": binance_followers, "bitget": bitget_followers}, port=port, seed=seed, on_ready=on_ready)
    )


async def _serve(
    followers: Mapping[str, int], *, port: int, seed: int, on_ready: Callable[[dict[str, Any]], None]
) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    world = World(seed=seed)
    server = SimulatorServer(world, open_simulators(world, followers))
    try:
        on_ready(await server.start(followers, port))
        await stop.wait()
    finally:
        await server.stop()


class RunningSimulators:
    """Simulators that run in a thread of this process: ``sims["binance"]["rest"]`` as the command prints it.

    `world` and `simulators` are the live objects; touch them only inside `call`, which runs in their event loop.
    """

    def __init__(self, server: SimulatorServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self.info = server.info
        self.world = server.world
        self.simulators = server.simulators

    def __getitem__(self, name: str) -> Any:
        return self.info[name]

    def call(self, do: Callable[[], T]) -> T:
        """Run *do* in the simulators' event loop and return what it returns."""
        done: Future[T] = Future()

        def run() -> None:
            try:
                done.set_result(do())
            except BaseException as error:  # handed to the caller, whatever it is
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result(START_TIMEOUT_SEC)

    def truth(self, account_id: str) -> dict[str, Any]:
        """Return one account's balances and orders, as ``GET /sim/truth`` shows them."""
        return self.call(lambda: self.world.accounts[account_id].truth())

    def place(self, account_id: str, **ticket: Any) -> dict[str, Any]:
        """Trade as an account (side, quantity or quote, perhaps price and symbol); return the order's truth."""

        def trade() -> dict[str, Any]:
            account = self.world.accounts[account_id]
            ticket.setdefault("client_order_id", f"web_{len(account.orders)}")
            return self.world.market(account.exchange, ticket.pop("symbol", None)).place(account, **ticket).truth()

        return self.call(trade)

    def arm(self, name: str, **filters: Any) -> None:
        """Arm a fault (`FaultBoard.arm`), or do it at once where it is one of the dialect's disturbances."""

        def act() -> None:
            exchange = filters.get("exchange")
            for simulator in self.simulators.values():
                if name in simulator.disturbances and exchange in (None, simulator.exchange):
                    simulator.disturb(name, filters.get("account"), filters.get("params", {}))
                    return
            self.world.faults.arm(name, **filters)

        self.call(act)

    def tidy(self) -> None:
        """Switch the untidiness off, for a test that is about something else."""

        def act() -> None:
            for untidiness in self.world.untidiness.values():
                untidiness.tidy()

        self.call(act)


@contextmanager
def running_simulators(
    *,
    binance_followers: int = 0,
    bitget_followers: int = 0,
    seed: int = 1,
    price: Decimal = Decimal("64217.38"),
    factories: Mapping[str, Factory] | None = None,
    followers: Mapping[str, int] | None = None,
) -> Iterator[RunningSimulators]:
    """Run simulators in a thread of this process; stop them, and join it, at the end.

    :param factories: simulators given directly (``{"binance": BinanceSimulator}``) instead of by the plug-ins.
    :param followers: how many accounts on which exchange, in place of the two numbers.
    """
    wanted = followers if followers is not None else {"binance": binance_followers, "bitget": bitget_followers}
    ready: Future[RunningSimulators] = Future()
    stop: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.Event()
        stop.append((loop, stopped))
        world = World(seed=seed, price=price)
        server = SimulatorServer(world, open_simulators(world, wanted, factories))
        try:
            await server.start(wanted)
            ready.set_result(RunningSimulators(server, loop))
            await stopped.wait()
        finally:
            await server.stop()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:
            if ready.done():
                raise
            ready.set_exception(error)

    thread = threading.Thread(target=run, name="simulators")
    thread.start()
    try:
        yield ready.result(START_TIMEOUT_SEC)
    finally:
        for loop, stopped in stop:
            # A loop that has ended by itself, with an error, needs no telling.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(stopped.set)
        thread.join()
