"""TensorFlow set up once for a whole run, the bundled network, and a processor with a meter."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from adapt.network.load import Network
    from adapt.training.data import Data
    from adapt.training.finetune import Trainer

BATCH = 32

# As the program does; for this process it is too late, for those that it starts it is not.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A shell ignores Ctrl-C for what it starts with `&`, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in every short run, so that a change is what makes it fail; the long run looks
# for new ones. No deadline in either: a machine that does much else stalls any of them at times.
settings.register_profile("new", deadline=None)
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("new" if "ADAPT_LONG" in os.environ else "repeatable")


def pytest_collection_finish() -> None:
    """Pin TensorFlow's threads, where a collected test uses it: later than any test is too late."""
    if "tensorflow" in sys.modules:
        from adapt.training.finetune import pin_threads

        pin_threads(1)


@pytest.fixture(scope="session")
def digits_network() -> Network:
    """The bundled network."""
    from adapt.demo import MODEL
    from adapt.network.load import load_network

    return load_network(MODEL)


@pytest.fixture(scope="session")
def digits_data() -> Data:
    """The bundled digits: 1212 examples to train on, 135 held out, 450 to test."""
    from adapt.training.data import DataOptions, load_data

    return load_data("adapt.demo:digits", (8, 8, 1), 10, DataOptions())


@pytest.fixture(scope="session")
def digits_trainer(digits_network: Network, digits_data: Data) -> Trainer:
    """Trains the bundled network; traced once for all tests."""
    from adapt.network.elastic import ElasticNetwork
    from adapt.training.finetune import Trainer

    network = ElasticNetwork(digits_network.model, digits_network.groups)
    return Trainer(network, digits_data, batch=BATCH)


class MeteredProcessor:
    """A file tree in which RAPL counts what the workers of an agent use, by their CPU time.

    Idle, it draws IDLE_MW; each core that a worker keeps busy, CORE_MW more. The counter wraps
    around several times a second.
    """

    IDLE_MW = 2_000.0
    CORE_MW = 6_000.0
    RANGE_UJ = 1_000_000

    def __init__(self, root: Path) -> None:
        self.root = root
        self.agent = 0
        self._zone = root / "sys/class/powercap/intel-rapl:0"
        self._zone.mkdir(parents=True)
        (self._zone / "name").write_text("package-0\n")
        (self._zone / "max_energy_range_uj").write_text(f"{self.RANGE_UJ}\n")
        self._show(0.0)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def close(self) -> None:
        """Count no more."""
        self._ending.set()
        self._thread.join()

    def _run(self) -> None:
        used_uj, cpu, now = 0.0, self._cpu_seconds(), time.monotonic()
        while not self._ending.wait(0.005):
            last_cpu, last = cpu, now
            cpu, now = self._cpu_seconds(), time.monotonic()
            busy = sum(seconds - last_cpu.get(pid, 0.0) for pid, seconds in cpu.items())
            used_uj += self.IDLE_MW * (now - last) * 1e3 + self.CORE_MW * busy * 1e3
            self._show(used_uj)

    def _show(self, used_uj: float) -> None:
        # Whole or not at all, as the kernel writes it.
        fresh = self._zone / "fresh"
        fresh.write_text(f"{int(used_uj) % self.RANGE_UJ}\n")
        fresh.rename(self._zone / "energy_uj")

    def _cpu_seconds(self) -> dict[int, float]:
        """CPU time that each worker of the agent has used so far."""
        found: dict[int, float] = {}
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{self.agent}/task/{self.agent}/children").read_text()
            for pid in map(int, children.split()):
                # The kernel's number of the clock of another process' CPU time.
                found[pid] = time.clock_gettime((~pid << 3) | 2)
        return found


@pytest.fixture
def metered(tmp_path: Path) -> Iterator[MeteredProcessor]:
    """For an agent with `--power-root`; `agent` is to be its process id."""
    processor = MeteredProcessor(tmp_path / "metered")
    yield processor
    processor.close()
