"""Whether the adapted network keeps each limit of its budget, by the best evidence there is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from adapt.budget import Limit, within
from adapt.cost.base import Origin
from adapt.job.request import JobRequest
from adapt.job.result import JobResult, Measured
from adapt.report.values import known, ratio

__all__ = ["Evidence", "LimitCheck", "Outcome", "check_limits", "check_target", "overall"]


class Outcome(StrEnum):
    """How a limit was kept, from best to worst."""

    MET = "met"
    NEAR = "missed by less than the spread of the measurement"
    UNKNOWN = "not known"
    MISSED = "missed"


class Evidence(StrEnum):
    """What the amount that is held against a limit rests on."""

    MEASURED = "measured on the device"
    COUNTED = "counted"
    MODELLED = "told by an analytic model"
    PREDICTED = "predicted"


@dataclass(frozen=True)
class LimitCheck:
    """One limit against what the adapted network needs, both in the resource's unit.

    A relative limit is one of what the original needs by the same evidence, of the same minutes.
    `spread` is that of `value` / `allowed`, as a share of it.
    """

    limit: Limit
    allowed: float | None
    value: float | None
    evidence: Evidence
    spread: float = 0.0

    @property
    def text(self) -> str:
        """The limit as the user wrote it, and of several devices the one that it is held on."""
        device, text = self.limit.device, self.limit.text
        return f"{text} on {device}" if device and device not in text else text

    @property
    def used(self) -> float | None:
        """Share of the limit that is used; None where either amount is unknown."""
        return ratio(self.value, self.allowed)

    @property
    def outcome(self) -> Outcome:
        """How the limit was kept."""
        used = self.used
        if used is None:
            return Outcome.UNKNOWN
        if within({"used": used}, {"used": 1.0}):
            return Outcome.MET
        return Outcome.NEAR if used <= 1 + self.spread else Outcome.MISSED


def check_limits(request: JobRequest, result: JobResult) -> list[LimitCheck]:
    """Every limit of the budget, on each device that it holds on."""
    original, adapted = result.network("original").measured, result.network("adapted").measured
    return [
        _check_latency(limit, original[limit.name], adapted[limit.name])
        if limit.name in original.keys() & adapted.keys()
        else _check(limit, result)
        for limit in request.limits.limits
    ]


def check_target(result: JobResult) -> Outcome:
    """Whether the adapted network keeps the accuracy asked for; met where none was."""
    if result.target is None:
        return Outcome.MET
    reached = known(result.network("adapted").holdout_accuracy)
    if reached is None:
        return Outcome.UNKNOWN
    return Outcome.MET if reached >= result.target.accuracy else Outcome.MISSED


def overall(checks: Iterable[LimitCheck], target: Outcome = Outcome.MET) -> Outcome:
    """The worst outcome: all limits must hold, and the accuracy."""
    return max((target, *(check.outcome for check in checks)), key=list(Outcome).index)


def _check_latency(limit: Limit, original: Measured, adapted: Measured) -> LimitCheck:
    allowed: float | None = limit.value
    spread = known(adapted.relative_error) or 0.0
    if limit.relative:
        whole = known(original.latency_us)
        allowed = None if whole is None else limit.value * whole
        spread = math.hypot(spread, known(original.relative_error) or 0.0)
    return LimitCheck(limit, allowed, known(adapted.latency_us), Evidence.MEASURED, spread)


def _check(limit: Limit, result: JobResult) -> LimitCheck:
    parts = result.network("adapted").cost.get(limit.name)
    whole = result.network("original").cost.get(limit.name)
    allowed = result.limits.get(limit.name)
    if parts is None and result.history:
        parts = result.history[-1].cost.get(limit.name)
    elif limit.relative and whole is not None:
        allowed = limit.value * math.fsum(whole.values())
    return LimitCheck(
        limit,
        known(allowed),
        None if parts is None else known(math.fsum(parts.values())),
        _EVIDENCE.get(frozenset(map(Origin, parts or ())), Evidence.PREDICTED),
    )


# Of amounts whose parts are all of one origin; others are predicted.
_EVIDENCE = {
    frozenset([Origin.EXACT]): Evidence.COUNTED,
    frozenset([Origin.ANALYTIC]): Evidence.MODELLED,
}
