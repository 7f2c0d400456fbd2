"""Learns in what steps kernels take channels, by dense sweeps of one axis at a time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from adapt.cost.table import table_errors
from adapt.errors import DeviceError
from adapt.fleet.device import Device, MeasureOptions
from adapt.refresh.kernels import measure_kernels
from adapt.refresh.session import OnProgress
from adapt.tflite.quantities import macs, tensor_bytes
from lookup_tables.families import Axis, member, resized
from lookup_tables.kernel import Kernel
from lookup_tables.records import Entry, Fact
from lookup_tables.staircase import PLAIN, SWEEP, find_staircase
from lookup_tables.store import Store
from lookup_tables.tiles import sweep_evidence, tile_fact

__all__ = ["all_axes", "learn_tiles", "stepping_axes"]

# Operators that work on tiles of channels and take most of a network's time. The others take time
# by the byte, on every platform seen.
_STEPPING = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")

# The kernel to sweep is the one whose work, at the middle of the sweep, is next to this: some
# microseconds on a core with vector units, so that one step stands out from the clock's noise, and
# not so many that the sweep takes long. With few channels on its other axis, what does not depend
# on channels would hide the steps.
_WORK = 2e5
_MIDDLE = 64

# Share of a sweep that may be missing, for kernels that never gave a steady time.
_MOST = 0.9


def stepping_axes(kernels: Iterable[Kernel]) -> dict[Axis, list[Kernel]]:
    """The axes on which `kernels` may step and differ, each with those kernels that have it."""
    return {
        axis: list(counts)
        for axis, counts in _counts(kernels).items()
        if len(set(counts.values())) > 1
    }


def all_axes(kernels: Iterable[Kernel]) -> list[Axis]:
    """The axes on which `kernels` may step, whether they differ there or not."""
    return list(_counts(kernels))


def _counts(kernels: Iterable[Kernel]) -> dict[Axis, dict[Kernel, int]]:
    """The axes on which `kernels` may step, in order, each with the channels of its kernels."""
    having: dict[Axis, dict[Kernel, int]] = {}
    for kernel in kernels:
        place = member(kernel) if kernel.op in _STEPPING else None
        if place is not None:
            for axis, count in zip(place.family.axes, place.channels, strict=True):
                having.setdefault(axis, {})[kernel] = count
    return dict(sorted(having.items()))


def learn_tiles(
    store: Store,
    device: Device,
    axes: Iterable[Axis],
    kernels: Sequence[Kernel],
    *,
    options: MeasureOptions | None = None,
    on_progress: OnProgress | None = None,
) -> dict[Axis, Fact]:
    """Sweep `axes` on `device` and store the tile of each as a fact; some seconds an axis.

    Each is swept on one of `kernels` that has it; what is measured stays in the table as well.
    Raises ValueError where none has it, DeviceError where the device fails or a sweep does not
    settle, TableError where the table cannot be used.
    """
    options = options or MeasureOptions()
    sweeps = {axis: _sweep(axis, kernels) for axis in axes}
    wanted = [kernel for sweep in sweeps.values() for kernel in sweep.values()]
    platform = device.platform(options.backend, options.threads, options.core_mask)
    measured = measure_kernels(store, device, wanted, options=options, on_progress=on_progress)
    facts: dict[Axis, Fact] = {}
    for axis, sweep in sweeps.items():
        entries = {n: measured.measured[k] for n, k in sweep.items() if k in measured.measured}
        if len(entries) < _MOST * len(SWEEP):
            raise DeviceError(
                f"the tile of {axis} on {device.name} could not be learnt: of {len(SWEEP)} channel"
                f" counts only {len(entries)} gave a steady time",
                "Quieten the device (other programs, charging, heat) and try again.",
            )
        with table_errors():
            facts[axis] = store.record_fact(platform, tile_fact(axis), *_finding(sweep, entries))
    return facts


def _finding(
    sweep: dict[int, Kernel], entries: dict[int, Entry]
) -> tuple[float, dict[str, object]]:
    """The tile, and the evidence for it."""
    times = {count: entry.latency_us for count, entry in entries.items()}
    staircase = find_staircase(times) or PLAIN
    evidence = {
        **sweep_evidence(times),
        "kernel": sweep[_MIDDLE].text,
        "batches": sorted({entry.batch for entry in entries.values()}),
        "profile": list(staircase.profile),
    }
    return float(staircase.tile), evidence


def _sweep(axis: Axis, kernels: Iterable[Kernel]) -> dict[int, Kernel]:
    """The kernels to measure for `axis`, by channel count."""
    candidates = [sweep for kernel in kernels if (sweep := _along(axis, kernel)) is not None]
    if not candidates:
        raise ValueError(f"no kernel has {axis}")
    return min(candidates, key=lambda sweep: (_unfit(sweep[_MIDDLE]), sweep[_MIDDLE].text))


def _unfit(middle: Kernel) -> float:
    """How far a sweep around the kernel `middle` is from a good one."""
    place = member(middle)
    assert place is not None
    others = math.prod(place.channels) / _MIDDLE if len(place.channels) > 1 else _MIDDLE
    return abs(math.log(_work(middle) / _WORK)) + abs(math.log(others / _MIDDLE))


def _along(axis: Axis, kernel: Kernel) -> dict[int, Kernel] | None:
    """`kernel` with each count of the sweep on `axis`; None where it has no such axis."""
    place = member(kernel)
    if place is None or axis not in place.family.axes:
        return None
    number = place.family.axes.index(axis)
    before, after = place.channels[:number], place.channels[number + 1 :]
    return {count: resized(kernel, (*before, count, *after)) for count in SWEEP}


def _work(kernel: Kernel) -> float:
    """Multiply-accumulates, or bytes written where there are none."""
    return float(macs(kernel) or tensor_bytes(kernel.outputs[0]))
