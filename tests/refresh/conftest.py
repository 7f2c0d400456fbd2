"""A simulated device behind the seam: steady times by kernel, and faults on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from adapt.errors import DeviceError
from adapt.fleet.device import (
    Batch,
    Core,
    Description,
    Identity,
    Limits,
    MeasureOptions,
    ModelFile,
    Outcome,
    Progress,
    State,
    Status,
)
from lookup_tables import Kernel, Platform, Store, Tensor, Window

NULL_US = 0.5
STATE = State((2_400_000,), (("cpu", 41.0),), 0.1, 1 << 30, 1)
IDENTITY = Identity(
    device_model="Simulated",
    soc="None",
    os_build="1",
    architecture="x86_64",
    runtime="ai-edge-litert",
    runtime_version="2.3.0",
    runtime_build="00ff",
    cores=(Core(0, 2_400_000, 800_000, "performance"),),
    page_size=4096,
    memory_total=1 << 33,
    agent_version="0.1.0",
    backends=("xnnpack", "builtin"),
    boot_id="",
)


def windows(*lows_us: float) -> tuple[Window, ...]:
    """Undisturbed windows of these low quantiles."""
    return tuple(Window(200, 2, 1, us, us * 1.01, us * 0.99, us, 5.0) for us in lows_us)


def outcome(
    status: Status = Status.MEASURED, *lows_us: float, signal: int = 0, nodes: int = 1
) -> Outcome:
    """An outcome with a word of detail."""
    return Outcome(status, f"simulated {status}", signal, windows(*lows_us), nodes, nodes)


class SimulatedDevice:
    """Refuses what the agent would refuse; `faults` by model id are used up one a batch.

    A fault is the outcome to give, or an exception to raise for the whole batch. `before_batch` is
    called with the number of batches measured so far. Times are multiplied by `slowness` of the
    model's id and the options.
    """

    name = "simulated"

    def __init__(self) -> None:
        self.identity = IDENTITY
        self.limits = Limits(256, 32 << 20, 64 << 20, 600_000, 1)
        self.times_us: dict[str, float] = {"null": NULL_US}
        self.faults: dict[str, list[Outcome | Exception]] = {}
        self.batches: list[list[str]] = []
        self.before_batch: Callable[[int], None] = lambda count: None
        self.slowness: Callable[[str, MeasureOptions], float] = lambda name, options: 1.0

    def describe(self) -> Description:
        return Description(self.identity, STATE, self.limits)

    def platform(self, backend: str, threads: int, core_mask: int) -> Platform:
        return self.describe().platform(backend, threads, core_mask)

    def measure(
        self,
        models: Sequence[ModelFile],
        options: MeasureOptions,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Batch:
        sizes = [len(model.content) for model in models]
        ids = [model.id for model in models]
        assert len(set(ids)) == len(models) <= self.limits.max_models
        assert max(sizes) <= self.limits.max_model_bytes
        assert sum(sizes) <= self.limits.max_batch_bytes
        self.before_batch(len(self.batches))
        self.batches.append(ids)
        outcomes: dict[str, Outcome] = {}
        for number, name in enumerate(ids):
            outcomes[name] = self._outcome(name, options)
            if on_progress is not None:
                on_progress(Progress(number + 1, len(models), 2 * number))
        return Batch(outcomes, STATE, STATE, 100.0)

    def _outcome(self, name: str, options: MeasureOptions) -> Outcome:
        planned = self.faults.get(name)
        if not planned:
            us = self.times_us.get(name, self._parts_us(name)) * self.slowness(name, options)
            # A model of copies is named with their number, each followed by a slice.
            copies = name.rpartition(".")[2] if "." in name else ""
            nodes = 2 * int(copies) if copies else 1
            return outcome(Status.MEASURED, us, us * 1.0001, nodes=nodes)
        fault = planned.pop(0)
        if isinstance(fault, Exception):
            raise fault
        return fault

    def _parts_us(self, name: str) -> float:
        """10 us a kernel; a pair, which is named for its kernels, takes as long as both."""
        parts = [part for part in name.split("-") if len(part) == 32] or [name]
        return sum(self.times_us.get(part, 10.0) for part in parts) - NULL_US * (len(parts) - 1)

    def close(self) -> None:
        """Nothing to let go of."""


@pytest.fixture
def device() -> SimulatedDevice:
    return SimulatedDevice()


@pytest.fixture(name="outcome")
def outcome_fixture() -> Callable[..., Outcome]:
    return outcome


@pytest.fixture
def platform(device: SimulatedDevice) -> Platform:
    return device.platform("xnnpack", 1, 0)


@pytest.fixture
def kernels() -> list[Kernel]:
    """Ten real kernels that are cheap to write."""
    return [
        Kernel.make("LOGISTIC", [Tensor("float32", (1, n))], [Tensor("float32", (1, n))])
        for n in range(1, 11)
    ]


@pytest.fixture
def vanished() -> DeviceError:
    return DeviceError("the agent went away", "Start it again.")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "table.db") as opened:
        yield opened
