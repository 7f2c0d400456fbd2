"""One kernel that is timed with every batch: where its time has changed, the device has."""

from __future__ import annotations

from adapt.fleet.device import MeasureOptions, ModelFile, Outcome, Status
from adapt.tflite.ops import make_kernel
from adapt.tflite.writer import write_kernel
from lookup_tables.kernel import Tensor
from lookup_tables.quality import Accepted, judge

__all__ = ["CANARY_ID", "MAX_DRIFT", "Canary", "canary_model"]

CANARY_ID = "canary"
# Times of one kernel repeat within a percent on a device that holds its clocks; a phone that
# throttles loses ten and more.
MAX_DRIFT = 0.04
# What networks are full of: it computes more than it waits for memory, so it follows the clock.
KERNEL = make_kernel(
    "CONV_2D",
    [
        Tensor("float32", (1, 16, 16, 16)),
        Tensor("float32", (32, 3, 3, 16), constant=True),
        Tensor("float32", (32,), constant=True),
    ],
    [Tensor("float32", (1, 16, 16, 32))],
    padding="SAME",
    stride_h=1,
    stride_w=1,
)


def canary_model() -> ModelFile:
    """The canary, to be timed with other models."""
    return ModelFile(CANARY_ID, write_kernel(KERNEL))


class Canary:
    """What the canary took at first, for each way of running it.

    One is kept for a device as long as anybody measures on it, over lost links and restarts.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[str, int, int], float] = {}

    def drift(self, outcome: Outcome, options: MeasureOptions) -> float | None:
        """By what share of its first time the canary is slower now, or faster, below 0.

        None where it was not timed well enough to tell. The first time is the fastest that was
        ever seen: a device is slowed down by many things and sped up by none.
        """
        if outcome.status not in (Status.MEASURED, Status.NOT_CONVERGED):
            return None
        verdict = judge(outcome.windows, target_relative_error=options.target_relative_error)
        if not isinstance(verdict, Accepted):
            return None
        way = (options.backend, options.threads, options.core_mask)
        first = self._known.setdefault(way, verdict.latency_us)
        self._known[way] = min(first, verdict.latency_us)
        return verdict.latency_us / first - 1
