"""A night on this machine: a real agent, real kernels, and workers that become slower.

`tools/bench/refresh.py` shows what little a table notices on a machine that has nothing else to do.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest

from adapt.fleet.local import LocalDevice
from adapt.refresh import Night, measure_kernels, refresh_tables
from adapt.tflite.ops import make_kernel
from device_agent.launcher import PYTHON_VARIABLE
from lookup_tables import Store, Tensor

SLOW_WORKER = Path(__file__).with_name("slow_worker.py")
# A machine that runs tests can be twice as slow at one moment as at another.
SLOWER = 6.0
MOODS = 2.5
ATTEMPTS = 3
KERNELS = [
    make_kernel(op, [Tensor("float32", (1, n))], [Tensor("float32", (1, n))])
    for op in ("LOGISTIC", "TANH", "ELU")
    for n in range(4096, 4096 * 9, 4096)
]


def refreshed(store: Store) -> Night:
    """One night without the pause between two looks."""
    with LocalDevice() as device:
        return refresh_tables(
            store, device, max_age_s=1e6, time_limit_s=600, sleep=lambda seconds: None
        )


def test_slower_workers_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(tmp_path / "table.db") as store:
        with LocalDevice() as device:
            measure_kernels(store, device, KERNELS)
            platform = device.platform("xnnpack", 1, 0)
        before = store.entries(platform)
        worker = [sys.executable, str(SLOW_WORKER), str(SLOWER)]
        monkeypatch.setenv(PYTHON_VARIABLE, shlex.join(worker))
        for _ in range(ATTEMPTS):  # A look that other work disturbs tells nothing.
            (night,) = refreshed(store).platforms
            if night.drifts:
                break
        after = store.entries(platform)
        drifts = store.drifts(platform)
    assert night.platform == platform
    (drift,) = night.drifts
    assert drifts == [drift]
    assert drift.op == ""
    assert SLOWER / MOODS < drift.ratio < SLOWER * MOODS
    assert night.left == len(night.failed)
    anew = [kernel for kernel in before if after[kernel].measured_at >= drift.since]
    assert len(anew) == len(before) - night.left
