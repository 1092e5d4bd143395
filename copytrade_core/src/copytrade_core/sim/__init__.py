"""What every exchange's simulator is built from. Needs the extra ``sim`` (``pip install "copytrade-core[sim]"``)."""

from . import wire
from .faults import WIRE_FAULTS, Fault, FaultBoard, UnknownFault, Untidiness
from .ledger import Holding, LedgerError, SimAccount, SimFill, SimKey, SimOrder
from .matching import Book, Change, Market, MarketRules, OrderRefused, Step
from .server import RunningSimulators, SimulatorServer, running_simulators, simulate_forever
from .simulator import Simulator
from .wire import Connection
from .world import World

__all__ = [
    "WIRE_FAULTS",
    "Book",
    "Change",
    "Connection",
    "Fault",
    "FaultBoard",
    "Holding",
    "LedgerError",
    "Market",
    "MarketRules",
    "OrderRefused",
    "RunningSimulators",
    "SimAccount",
    "SimFill",
    "SimKey",
    "SimOrder",
    "Simulator",
    "SimulatorServer",
    "Step",
    "UnknownFault",
    "Untidiness",
    "World",
    "running_simulators",
    "simulate_forever",
    "wire",
]
