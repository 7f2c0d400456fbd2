"""What the report says, in the order it says it; the template only sets it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapt.budget import base, device_of
from adapt.job.request import JobRequest
from adapt.job.result import JobResult, NetworkResult
from adapt.report.command import budget_for, command
from adapt.report.facts import job_facts
from adapt.report.operators import operator_table
from adapt.report.svg import Plot
from adapt.report.tables import (
    Cell,
    Row,
    Table,
    cost_value,
    final_value,
    heading,
    iteration_table,
    latencies,
    network_table,
    proposal_table,
)
from adapt.report.values import (
    UNKNOWN,
    amount,
    count,
    known,
    micro,
    percent,
    points,
    ratio,
)
from adapt.report.verdict import (
    Evidence,
    LimitCheck,
    Outcome,
    check_limits,
    check_target,
    overall,
)

__all__ = ["Card", "Family", "Story", "tell"]

_VERDICTS = {
    Outcome.MET: "Budget met",
    Outcome.NEAR: "Budget missed, by less than the spread of the measurement",
    Outcome.UNKNOWN: "Budget not verified",
    Outcome.MISSED: "Budget missed",
}

_TRACKS = {"uniform": "One width multiplier for all groups"}


@dataclass(frozen=True)
class Card:
    """One number before and after, and how to take the difference."""

    label: str
    before: str
    after: str
    note: str


@dataclass(frozen=True)
class Family:
    """The other points of the curve: files, and a command that makes one of them a result."""

    first: str
    last: str
    example: str


@dataclass(frozen=True)
class Story:
    """The whole report. `outcome` is "met", "near", "unknown" or "missed"."""

    title: str
    aim: str
    platform: str
    outcome: str
    verdict: str
    lead: str
    baselines: list[str]
    cards: list[Card]
    checks: Table
    networks: Table
    plots: list[Plot]
    operators: Table | None
    iterations: Table | None
    proposals: Table | None
    family: Family | None
    kept_whole: list[str]
    facts: list[tuple[str, str]]
    command: str
    directory: str


def tell(request: JobRequest, result: JobResult, plots: list[Plot]) -> Story:
    """Everything the report says of a job."""
    checks = check_limits(request, result)
    target = check_target(result)
    outcome = overall(checks, target)
    return Story(
        title=f"{request.model.name}, adapted",
        aim=request.aim,
        platform=result.platform,
        outcome=outcome.name.lower(),
        verdict=_verdict(outcome, checks, result),
        lead=_lead(request, result),
        baselines=[
            _baseline_sentence(network, result.network("adapted"))
            for network in result.networks
            if network.name not in ("original", "adapted")
        ],
        cards=_cards(result),
        checks=_check_table(checks, result),
        networks=network_table(result),
        plots=plots,
        operators=operator_table(result),
        iterations=iteration_table(result),
        proposals=proposal_table(result),
        family=_family(request, result),
        kept_whole=result.kept_whole,
        facts=job_facts(request, result),
        command=command(request),
        directory=str(request.directory or ""),
    )


def _verdict(outcome: Outcome, checks: Sequence[LimitCheck], result: JobResult) -> str:
    """The outcome in a few words; a budget that is met also says on what evidence."""
    if result.target is not None and check_target(result) is not Outcome.MET:
        return "Accuracy missed"
    if outcome is not Outcome.MET:
        return _VERDICTS[outcome]
    if not checks:
        return "Accuracy kept, on the held-out examples"
    evidence = dict.fromkeys(str(check.evidence) for check in checks)
    return f"{_VERDICTS[outcome]}, as {' and '.join(evidence)}"


def _lead(request: JobRequest, result: JobResult) -> str:
    """What the networks need, and their accuracy, before and after, in two sentences."""
    if result.timed:
        *others, last = [f"{_need(result, name)}{_on(name)}" for name in result.timed]
        needs = f"{', '.join(others)} and {last}" if others else last
        where = "On the devices" if others else "On the device"
        text = f"{where}, the adapted network takes {needs}."
    elif untimed := _untimed(result):
        needs = " and ".join(f"{_need(result, name)}{_on(name)}" for name in untimed)
        text = f"By the times of its kernels, the adapted network takes {needs}."
    else:
        needs = " and ".join(_need(result, resource) for resource in result.told_by)
        text = f"Nothing was measured: on {result.platform}, the adapted network takes {needs}."
    return f"{text} {_accuracy_sentence(request, result)}"


def _untimed(result: JobResult) -> list[str]:
    """Latencies on devices that whole networks were too large for."""
    return [name for name in latencies(result) if name not in {*result.timed, *result.told_by}]


def _need(result: JobResult, resource: str) -> str:
    """What the adapted network needs, beside what the original does."""
    before = final_value(result.network("original"), resource)
    after = final_value(result.network("adapted"), resource)
    share = ratio(after, before)
    of_original = "" if share is None else f"{percent(share)} of "
    return f"{_shown(resource, after)}, {of_original}the original's {_shown(resource, before)}"


def _on(name: str) -> str:
    """Of several devices, which one `name` is about."""
    device = device_of(name)
    return f" on {device}" if device else ""


def _shown(resource: str, value: float | None) -> str:
    return micro(amount(resource, value))


def _accuracy_sentence(request: JobRequest, result: JobResult) -> str:
    before = result.network("original").test_accuracy
    after = result.network("adapted").test_accuracy
    what = "Its int8 file" if request.quantize == "int8" else "It"
    text = f"{what} classifies {percent(after, 2)} of the test split right"
    examples = result.examples.get("test", 0)
    difference = known(after - before)
    if difference is None or not examples:
        return f"{text}; the original {percent(before, 2)}."
    wrong = round(difference * examples)
    if wrong == 0:
        return f"{text}, as the original does."
    much = "more" if wrong > 0 else "fewer"
    return (
        f"{text}, the original {percent(before, 2)}: {count(abs(wrong))} {much}"
        f" of {count(examples)} examples."
    )


def _baseline_sentence(baseline: NetworkResult, adapted: NetworkResult) -> str:
    who = _TRACKS.get(baseline.name, f"The baseline {baseline.name}")
    difference = baseline.test_accuracy - adapted.test_accuracy
    names = [name for name in baseline.cost if base(name) == "latency"]
    latency = " and ".join(f"{_shown(n, final_value(baseline, n))}{_on(n)}" for n in names)
    return (
        f"{who}, fine-tuned for {count(baseline.steps_trained)} steps, reaches"
        f" {percent(baseline.test_accuracy, 2)} at {latency}"
        f" ({points(difference)} against the adapted network)."
    )


def _cards(result: JobResult) -> list[Card]:
    original, adapted = result.network("original"), result.network("adapted")
    accuracies = original.test_accuracy, adapted.test_accuracy
    heads = {name: f"{heading(name)}, measured" for name in result.timed}
    heads |= {name: f"{heading(name)}, predicted" for name in _untimed(result)}
    heads |= {name: f"{heading(name)}, modelled" for name in result.told_by}
    cards = []
    for resource, text in heads.items():
        before, after = final_value(original, resource), final_value(adapted, resource)
        shown = _shown(resource, before), _shown(resource, after)
        cards.append(Card(text, *shown, _of_original(after, before)))
    cards.append(
        Card(
            "Test accuracy",
            percent(accuracies[0], 2),
            percent(accuracies[1], 2),
            points(accuracies[1] - accuracies[0]),
        )
    )
    for resource, text in (("macs", "Multiply-accumulates"), ("size", "Model file")):
        old, new = cost_value(original.cost, resource), cost_value(adapted.cost, resource)
        cards.append(
            Card(text, amount(resource, old), amount(resource, new), _of_original(new, old))
        )
    return cards


def _of_original(part: float | None, whole: float | None) -> str:
    share = ratio(part, whole)
    return "" if share is None else f"{percent(share)} of the original"


def _check_table(checks: Sequence[LimitCheck], result: JobResult) -> Table:
    rows = []
    for check in checks:
        resource = check.limit.resource
        allowed = micro(amount(resource, check.allowed))
        cells = [
            Cell(str(check.outcome)),
            Cell(allowed, "of the original's measured latency" if _relative(check) else ""),
            Cell(micro(amount(resource, check.value)), str(check.evidence)),
            Cell(percent(check.used)),
        ]
        rows.append(Row(Cell(check.text), cells))
    if result.target is not None:
        reached = result.network("adapted").holdout_accuracy
        cells = [
            Cell(str(check_target(result))),
            Cell(f"at least {percent(result.target.accuracy, 2)}"),
            Cell(percent(reached, 2), "of the held-out examples"),
            Cell(UNKNOWN),
        ]
        rows.append(Row(Cell("accuracy"), cells))
    return Table(
        "The budget, limit by limit", ["Limit", "Verdict", "Allows", "Needs", "Used"], rows
    )


def _relative(check: LimitCheck) -> bool:
    return check.limit.relative and check.evidence is Evidence.MEASURED


def _family(request: JobRequest, result: JobResult) -> Family | None:
    """The stored networks of the iterations; None for a method that makes only one."""
    stored = [iteration for iteration in result.history if iteration.proposals]
    if not stored:
        return None
    middle = stored[(len(stored) - 1) // 2]
    budget = [
        budget_for(resource, value)
        for resource in result.names
        if (value := known(cost_value(middle.cost, resource))) is not None and value > 0
    ]
    return Family(
        first=f"family/iteration-{stored[0].number:02d}.keras",
        last=f"family/iteration-{stored[-1].number:02d}.keras",
        example=command(request, budget),
    )
