"""For authors of plug-ins: the contract that every connector keeps, as tests to subclass. Needs pytest."""

import pytest

pytest.register_assert_rewrite("copytrade_core.testing.contract")

from .contract import ConnectorContract  # noqa: E402 - rewriting has to be asked for first
from .fixtures import ExecutedOrder, FakeExchange, RecordingSink, SwitchGate, eventually  # noqa: E402

__all__ = ["ConnectorContract", "ExecutedOrder", "FakeExchange", "RecordingSink", "SwitchGate", "eventually"]
