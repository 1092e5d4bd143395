"""How long each step of a copy takes, counted for monitoring since the engine began."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from .views import HistogramView

BOUNDS_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 120_000)


class Latencies:
    """A histogram a step (heard, planned, sent, accepted, final). Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[str, list[int]] = {}
        self._sums_ms: dict[str, float] = {}

    def saw(self, latency_ms: Mapping[str, float]) -> None:
        """Count one copy's steps, or the one step of a leader order."""
        with self._lock:
            for step, ms in latency_ms.items():
                counts = self._counts.setdefault(step, [0] * (len(BOUNDS_MS) + 1))
                counts[next((i for i, bound in enumerate(BOUNDS_MS) if ms <= bound), len(BOUNDS_MS))] += 1
                self._sums_ms[step] = self._sums_ms.get(step, 0) + ms

    def view(self) -> dict[str, HistogramView]:
        with self._lock:
            return {
                step: HistogramView(
                    buckets={str(bound / 1000): sum(counts[: i + 1]) for i, bound in enumerate(BOUNDS_MS)},
                    count=sum(counts),
                    sum_sec=self._sums_ms[step] / 1000,
                )
                for step, counts in self._counts.items()
            }
