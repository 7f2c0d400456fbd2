"""What a job found, as it stands in job.json and in the report."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from adapt.methods.base import CostRecord, Iteration

__all__ = ["CurvePoint", "JobResult", "Measured", "NetworkResult", "OperatorResult", "TargetResult"]


class Measured(BaseModel):
    """A whole network timed on the device.

    `latency_us` is the median of `runs` worker processes, microseconds, or the original's times the
    median of their ratios to it; `relative_error` their spread as a share of the median; `sha256`
    that of the .tflite file.
    """

    model_config = ConfigDict(frozen=True)

    sha256: str
    latency_us: float
    relative_error: float
    runs: int


class OperatorResult(BaseModel):
    """One TFLite operator of a network: its result's shape, and what it adds to the latency.

    `latency_us` is predicted, microseconds, by the names that `NetworkResult.measured` has, without
    those of devices whose tables do not know it.
    """

    model_config = ConfigDict(frozen=True)

    op: str
    shape: list[int]
    latency_us: dict[str, float] = {}


class NetworkResult(BaseModel):
    """One network of the comparison: the original, the adapted one or a baseline.

    `cost` is predicted (from tables, models and counts); `measured` is by the name of the latency,
    "latency" or of several devices "latency@LABEL", without those of which no device was asked, or
    had room.
    The accuracies and the loss are those of the precision asked for: of int8, what the .tflite
    file gives, with the float32 network's beside. `operators` are in the order in which they run.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    widths: dict[str, int]
    cost: CostRecord
    measured: dict[str, Measured]
    holdout_accuracy: float
    test_accuracy: float
    test_loss: float
    float_holdout_accuracy: float | None = None
    float_test_accuracy: float | None = None
    steps_trained: int
    operators: list[OperatorResult] = []


class CurvePoint(BaseModel):
    """A baseline at about the cost of an iteration, trained for as many `steps` as that.

    `cost` is predicted; `accuracy` that on the hold-out split.
    """

    model_config = ConfigDict(frozen=True)

    cost: CostRecord
    accuracy: float
    steps: int


class TargetResult(BaseModel):
    """How the cheapest network was chosen that keeps `accuracy` on the held-out examples.

    `minimised` names what was to be as little as possible; `judged` are the accuracies of networks
    that were fine-tuned to their end, by iteration, and `iteration` is that of the chosen one.
    """

    model_config = ConfigDict(frozen=True)

    accuracy: float
    minimised: list[str]
    iteration: int
    judged: dict[int, float]


class JobResult(BaseModel):
    """The end of a job.

    `platforms` are what the devices said they were, by label. `precision` is that of the .tflite
    files. `curves` are those of baselines, by name. `seconds` says where the time went, by phase,
    over all sittings; `told_by` what told a resource that neither a device nor counting did, for
    people.
    """

    model_config = ConfigDict(frozen=True)

    platforms: dict[str, str]
    precision: Literal["float32", "int8"] = "float32"
    told_by: dict[str, str] = {}
    limits: dict[str, float]
    target: TargetResult | None = None
    networks: list[NetworkResult]
    history: list[Iteration]
    curves: dict[str, list[CurvePoint]] = {}
    kept_whole: list[str]
    kernels_measured: int
    examples: dict[str, int]
    seconds: dict[str, float]

    @property
    def timed(self) -> list[str]:
        """The names of the latencies that devices measured, of all networks."""
        first, *others = self.networks
        return [name for name in first.measured if all(name in each.measured for each in others)]

    @property
    def names(self) -> list[str]:
        """The names of what was limited or minimised."""
        minimised = [] if self.target is None else self.target.minimised
        return list(dict.fromkeys([*minimised, *self.limits]))

    @property
    def platform(self) -> str:
        """The platforms, for people; of several each with the label of its device."""
        if len(self.platforms) == 1:
            return next(iter(self.platforms.values()))
        return "; ".join(f"{label}: {platform}" for label, platform in self.platforms.items())

    def network(self, name: str) -> NetworkResult:
        """The network called `name`; KeyError if there is none."""
        for network in self.networks:
            if network.name == name:
                return network
        raise KeyError(name)
