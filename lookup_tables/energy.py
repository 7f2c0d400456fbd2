"""The energy of kernels: what a meter told of one model, and what that makes of a kernel. Pure.

An agent reads its meter while a model rests, runs over and over, and rests again. The idle power of
the rests is subtracted from the run; what is left is divided by the number of runs. As with times,
the model that does nothing is measured likewise and subtracted from each kernel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from lookup_tables.quality import Reason, Rejected

__all__ = [
    "MAX_ENERGY_UJ",
    "MAX_POWER_MW",
    "Energy",
    "EnergyRun",
    "judge_energy",
    "kernel_energy",
]

# A gigajoule an inference, two kilowatts at rest: larger figures are a wrong unit.
MAX_ENERGY_UJ = 1e15
MAX_POWER_MW = 2e6

# A model whose own energy is not known this well says too little of the kernel in it.
MAX_RELATIVE_ERROR = 0.25

# As MIN_KERNEL_US: less than the null op cannot be told from it, and no kernel is free.
MIN_KERNEL_UJ = 0.001


@dataclass(frozen=True, slots=True)
class EnergyRun:
    """What a meter told of one model.

    Attributes:
        meter: its name on the device.
        run_uj: used during the run, idle power included, microjoules.
        run_ms: length of the run, milliseconds.
        invokes: runs of the model.
        idle_before_mw, idle_after_mw: power of the rests, milliwatts.
        error_uj: standard uncertainty of one inference's energy, microjoules.
    """

    meter: str
    run_uj: float
    run_ms: float
    invokes: int
    idle_before_mw: float
    idle_after_mw: float
    error_uj: float

    @property
    def inference_uj(self) -> float:
        """Energy of one inference above idle power, microjoules."""
        idle_mw = (self.idle_before_mw + self.idle_after_mw) / 2
        return (self.run_uj - idle_mw * self.run_ms) / self.invokes


@dataclass(frozen=True, slots=True)
class Energy:
    """Energy of one kernel, microjoules, and its standard uncertainty as a share of it."""

    kernel_uj: float
    relative_error: float


def judge_energy(run: EnergyRun) -> Rejected | None:
    """Why `run` is not to be believed; None where it is."""
    numbers = (run.run_uj, run.run_ms, run.idle_before_mw, run.idle_after_mw, run.error_uj)
    if not all(math.isfinite(n) and n >= 0 for n in numbers) or run.invokes < 1 or not run.meter:
        return Rejected(Reason.INVALID, f"a meter cannot tell this: {run}")
    inference_uj = run.inference_uj
    if not 0 < inference_uj < MAX_ENERGY_UJ:
        return Rejected(Reason.INVALID, f"{inference_uj:.6g} uJ an inference")
    if run.error_uj > MAX_RELATIVE_ERROR * inference_uj:
        return Rejected(
            Reason.UNSTEADY,
            f"{inference_uj:.6g} +- {run.error_uj:.6g} uJ an inference;"
            f" {MAX_RELATIVE_ERROR:.0%} is allowed",
        )
    return None


def kernel_energy(run: EnergyRun, null_uj: float, null_error_uj: float) -> Energy:
    """Energy of the kernel itself: the one-op model's less that of a model doing nothing.

    Both in microjoules by one meter. Never below MIN_KERNEL_UJ; the error is that of both together.
    """
    kernel_uj = max(run.inference_uj - null_uj, MIN_KERNEL_UJ)
    return Energy(kernel_uj, math.hypot(run.error_uj, null_error_uj) / kernel_uj)
