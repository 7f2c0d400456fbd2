"""All devices of a job: what they tell together, each under names of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from adapt.cost.base import CostModel, Missing
from adapt.cost.offline import EYERISS
from adapt.cost.placed import Placed
from adapt.cost.table import open_table
from adapt.fleet.benchmark import BACKEND, Benchmark
from adapt.fleet.choice import DeviceChoice
from adapt.fleet.claim import Claims
from adapt.job.account import Ledger
from adapt.job.folder import JobFolder
from adapt.job.listener import Listener
from adapt.job.request import JobRequest
from adapt.job.result import Measured
from adapt.job.yardstick import OnDevice, OnEyeriss, Yardstick
from lookup_tables.kernel import Kernel

__all__ = ["Devices", "open_devices"]


@dataclass(frozen=True)
class Devices:
    """What a job goes by: a yardstick for each device of `request`, by its label."""

    request: JobRequest
    yardsticks: Mapping[str, Yardstick]

    @property
    def platforms(self) -> dict[str, str]:
        """What each device says it is."""
        return {label: yardstick.platform for label, yardstick in self.yardsticks.items()}

    @property
    def told_by(self) -> dict[str, str]:
        """By name, what tells what neither a device nor counting does, for people."""
        return {
            self._name(resource, label): words
            for label, yardstick in self.yardsticks.items()
            for resource, words in yardstick.told_by.items()
        }

    @property
    def models(self) -> list[CostModel]:
        """What prices networks while a job searches, under the names of a budget."""
        return self._together({label: each.models for label, each in self.yardsticks.items()})

    def models_now(self, kernels: Iterable[Kernel]) -> list[CostModel]:
        """What prices networks of `kernels` at the end, these measured anew."""
        kernels = list(kernels)
        return self._together(
            {label: each.models_now(kernels) for label, each in self.yardsticks.items()}
        )

    def latencies_now(self, kernels: Sequence[Kernel]) -> list[dict[str, float]]:
        """What each of `kernels`, those of one network, adds to latencies, us, by their names."""
        found: list[dict[str, float]] = [{} for _ in kernels]
        for label, yardstick in self.yardsticks.items():
            name = self._name("latency", label)
            for mine, latency in zip(found, yardstick.latencies_now(kernels), strict=True):
                if latency is not None:
                    mine[name] = latency
        return found

    def whole(self, contents: Sequence[bytes]) -> list[dict[str, Measured]]:
        """The .tflite files `contents` as measured side by side, by the name of the latency."""
        found: list[dict[str, Measured]] = [{} for _ in contents]
        for label, yardstick in self.yardsticks.items():
            name = self._name("latency", label)
            for mine, measured in zip(found, yardstick.whole(contents), strict=True):
                if measured is not None:
                    mine[name] = measured
        return found

    def lacking(self, lack: Missing) -> dict[str, Missing]:
        """What lacks, by the label of the device to measure it on."""
        if len(self.yardsticks) > 1:
            return lack.on
        return dict.fromkeys(self.yardsticks, lack)

    def latency(self, label: str) -> str:
        """The name of the latency on the device called `label`."""
        return self._name("latency", label)

    def _together(self, models: Mapping[str, Sequence[CostModel]]) -> list[CostModel]:
        """All devices' models; what is the same everywhere comes from those of the first."""
        first = next(iter(models.values()))
        if len(models) == 1:
            return list(first)
        placed = [Placed(model, label) for label, own in models.items() for model in own]
        return [*(each for each in placed if each.resources), *first]

    def _name(self, resource: str, label: str) -> str:
        names = self.request.names(resource)
        return names.get(label, resource)


@contextmanager
def open_devices(
    folder: JobFolder, *, home: Path, tables: Path, listener: Listener, ledger: Ledger
) -> Iterator[Devices]:
    """The devices that the job in `folder` asks for, which are this job's alone meanwhile.

    `home` holds the locks, `tables` is the table file.
    """
    request = folder.request
    with ExitStack() as stack:
        yardsticks: dict[str, Yardstick] = {}
        claims, store = Claims(home, stack), None
        for number, choice in enumerate(request.devices, 1):
            if choice.name == EYERISS:
                yardsticks[choice.label] = OnEyeriss()
                continue
            device = claims.device(choice.name, choice.agent_python, _benchmark(choice))
            store = store or stack.enter_context(open_table(tables))
            yardstick = OnDevice(
                request, choice, folder.prices(number), store, device, listener, ledger
            )
            stack.callback(yardstick.close)
            yardsticks[choice.label] = yardstick
        yield Devices(request, yardsticks)


def _benchmark(choice: DeviceChoice) -> Benchmark | None:
    """The program that measures in the agent's place; None for the agent."""
    if choice.backend != BACKEND:
        return None
    return Benchmark.open(choice.binary, choice.binary_flags)
