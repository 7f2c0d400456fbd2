"""Reads a meter over and over, in a thread of its own, while a model runs elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from device_agent.power.meter import Meter, MeterError, Sample

# A few times in the shortest span that is looked at; reading costs the device little.
POLL_SECONDS = 0.05
# Of half an hour; nothing runs as long.
MAX_SAMPLES = 40_000


class Recorder:
    """Samples of `meter` from `start` to `stop`. Readings that fail leave a gap."""

    def __init__(
        self,
        meter: Meter,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        self._meter = meter
        self._clock_ns = clock_ns
        self._poll_seconds = poll_seconds
        self._samples: list[Sample] = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="meter", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> list[Sample]:
        """Read once more, and end; the samples in order."""
        self._ending.set()
        self._thread.join()
        return self._samples

    def _run(self) -> None:
        self._take()
        while len(self._samples) < MAX_SAMPLES:
            ending = self._ending.wait(self._poll_seconds)
            self._take()
            if ending:
                return

    def _take(self) -> None:
        before = self._clock_ns()
        try:
            values = self._meter.read()
        except MeterError:
            return
        middle = (before + self._clock_ns()) // 2
        if not self._samples or middle > self._samples[-1].instant_ns:
            self._samples.append(Sample(middle, values))
