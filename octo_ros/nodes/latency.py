"""Percentiles of the newest latencies by stage."""

import collections
import threading
from collections.abc import Mapping

import numpy as np

_KEPT = 200
_QUANTILES = (50, 95, 99)


class LatencyWindow:
    """The newest latencies by stage; safe to use from several threads."""

    def __init__(self, kept: int = _KEPT) -> None:
        """Keeps so many of each stage."""
        self._kept = kept
        self._lock = threading.Lock()
        self._values: dict[str, collections.deque[float]] = {}

    def add(self, timings_s: Mapping[str, float]) -> None:
        """Notes the time of each stage [s]."""
        with self._lock:
            for stage, value_s in timings_s.items():
                self._values.setdefault(
                    stage, collections.deque(maxlen=self._kept)).append(value_s)

    def quantiles_s(self) -> dict[str, tuple[float, ...]]:
        """Returns p50, p95 and p99 by stage [s]."""
        with self._lock:
            return {stage: tuple(float(value) for value in np.percentile(list(values), _QUANTILES))
                    for stage, values in self._values.items()}

    def clear(self) -> None:
        """Forgets all."""
        with self._lock:
            self._values.clear()
