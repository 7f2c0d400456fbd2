"""The tables of the report, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from adapt.budget import base, device_of
from adapt.job.result import JobResult, NetworkResult
from adapt.methods.base import CostRecord, Iteration, Proposal, cost_of
from adapt.report.values import (
    UNKNOWN,
    amount,
    change,
    count,
    interval,
    micro,
    percent,
    points,
    ratio,
)

__all__ = [
    "Cell",
    "Row",
    "Table",
    "cost_value",
    "final_value",
    "first_cost",
    "heading",
    "iteration_table",
    "latencies",
    "network_table",
    "proposal_table",
    "resource_label",
]

# Widths that changed at once and are spelt out; a width multiplier changes them all.
_CHANGES_SHOWN = 3

# Labels of the resources that are counted, in the order of the comparison.
_COUNTED = {
    "macs": "Multiply-accumulates",
    "params": "Parameters",
    "size": "Model file",
    "memory": "Peak activations",
}


# Resources whose name in prose is not the one that a budget uses.
_NAMES = {"macs": "MACs", "params": "parameters", "size": "model size", "memory": "peak memory"}


@dataclass(frozen=True)
class Cell:
    """A value, and beneath it, in one line or more, what helps to judge it."""

    text: str
    note: str = ""


@dataclass(frozen=True)
class Row:
    """`head` names the row; `marked` rows stand out."""

    head: Cell
    cells: list[Cell]
    marked: bool = False


@dataclass(frozen=True)
class Table:
    """Rows under column headings; the first heading is that of the rows' heads.

    `marked` is the index of the column, among all of `columns`, that stands out.
    """

    caption: str
    columns: list[str]
    rows: list[Row] = field(default_factory=list)
    marked: int | None = None


def cost_value(record: CostRecord, resource: str) -> float | None:
    """What `record` says of `resource`; None where it is silent."""
    parts = record.get(resource)
    return None if parts is None else sum(parts.values())


def final_value(network: NetworkResult, resource: str) -> float | None:
    """What a finished network needs of `resource`: latency as measured where it was."""
    if resource in network.measured:
        return network.measured[resource].latency_us
    return cost_value(network.cost, resource)


def resource_label(resource: str) -> str:
    """A resource's name in a sentence, and of several devices which one it is about."""
    device = device_of(resource)
    name = _NAMES.get(base(resource), base(resource))
    return f"{name} on {device}" if device else name


def heading(resource: str) -> str:
    """A resource's name as that of a column or a row."""
    name = resource_label(resource)
    return name[0].upper() + name[1:]


def first_cost(result: JobResult, resource: str) -> float | None:
    """What the original network needs of `resource`, as predicted."""
    value = cost_value(result.network("original").cost, resource)
    if value is None and result.history and result.history[0].number == 0:
        return cost_value(result.history[0].cost, resource)
    return value


def latencies(result: JobResult) -> list[str]:
    """The names of the latencies that the finished networks have, by device."""
    return [name for name in result.network("adapted").cost if base(name) == "latency"]


def network_table(result: JobResult) -> Table:
    """The networks side by side: one column each, one row for each thing to compare."""
    networks = result.networks
    rows = [row for name in latencies(result) for row in _latency_rows(name, result)]
    for name in networks[0].cost:
        if base(name) == "energy":
            text = f"{heading(name)}, predicted"
            rows.append(_counted_row(name, text, result, _origins(name, networks)))
    rows += [_counted_row(resource, label, result) for resource, label in _COUNTED.items()]
    rows += _accuracy_rows(result)
    rows.append(Row(Cell("Fine-tuning steps"), [Cell(count(n.steps_trained)) for n in networks]))
    names = [n.name for n in networks]
    return Table(
        "The networks, timed side by side on the device" + ("s" if len(result.timed) > 1 else "")
        if result.timed
        else "The networks side by side; they were not timed as a whole",
        ["Network", *names],
        rows,
        marked=names.index("adapted") + 1,
    )


def _latency_rows(name: str, result: JobResult) -> list[Row]:
    """The latency called `name` of all networks, as measured if it was, and as predicted."""
    networks, text = result.networks, heading(name)
    if name not in result.timed:
        return [_counted_row(name, f"{text}, predicted", result, _origins(name, networks))]
    whole = result.network("original")
    return [
        Row(Cell(f"{text}, measured"), [_measured(n, name) for n in networks]),
        Row(Cell("Share of the original"), [_share_measured(n, whole, name) for n in networks]),
        Row(Cell(f"{text}, predicted", "from the table"), [_predicted(n, name) for n in networks]),
    ]


def _measured(network: NetworkResult, name: str) -> Cell:
    measured = network.measured[name]
    runs = f"{measured.runs} run" + ("s" if measured.runs != 1 else "")
    return Cell(
        micro(amount(name, measured.latency_us)),
        f"spread {percent(measured.relative_error)} over {runs}",
    )


def _share_measured(network: NetworkResult, original: NetworkResult, name: str) -> Cell:
    whole, mine = final_value(original, name), final_value(network, name)
    share, faster = ratio(mine, whole), ratio(whole, mine)
    note = "" if network.name == "original" or faster is None else f"{faster:.2f} times as fast"
    return Cell(percent(share), note)


def _predicted(network: NetworkResult, name: str) -> Cell:
    value = cost_value(network.cost, name)
    share = ratio(value, final_value(network, name))
    note = "" if share is None else f"{change(share - 1)} against measured"
    return Cell(micro(amount(name, value)), note)


def _origins(resource: str, networks: Sequence[NetworkResult]) -> str:
    """Which shares of a resource are known how, all networks together."""
    parts: dict[str, float] = {}
    for network in networks:
        for origin, value in network.cost.get(resource, {}).items():
            parts[origin] = parts.get(origin, 0.0) + value
    whole = sum(parts.values())
    return ", ".join(f"{percent(ratio(part, whole))} {origin}" for origin, part in parts.items())


def _counted_row(resource: str, label: str, result: JobResult, known: str = "") -> Row:
    whole = cost_value(result.network("original").cost, resource)
    cells = []
    for network in result.networks:
        value = cost_value(network.cost, resource)
        share = ratio(value, whole)
        noted = share is not None and network.name != "original"
        note = f"{percent(share)} of the original" if noted else ""
        cells.append(Cell(micro(amount(resource, value)), note))
    return Row(Cell(label, known), cells)


def _accuracy_rows(result: JobResult) -> list[Row]:
    """Of the precision asked for, and of int8 networks what they give in float32."""
    networks, examples = result.networks, result.examples
    test, holdout = examples.get("test", 0), examples.get("holdout", 0)
    test_head = f"{count(test)} examples, 95% interval"
    rows = [
        Row(
            Cell(f"Test accuracy{_in(result)}", test_head),
            [_accuracy(n.test_accuracy, test) for n in networks],
        )
    ]
    if result.precision != "float32":
        cells = [_accuracy(n.float_test_accuracy, test) for n in networks]
        rows.append(Row(Cell("Test accuracy in float32", "before quantisation"), cells))
    original = result.network("original").test_accuracy
    differences = [
        Cell(UNKNOWN if n.name == "original" else points(n.test_accuracy - original))
        for n in networks
    ]
    rows.append(Row(Cell("Accuracy against the original"), differences))
    cells = [_accuracy(n.holdout_accuracy, holdout) for n in networks]
    head = Cell(f"Hold-out accuracy{_in(result)}", f"{count(holdout)} examples, 95% interval")
    rows.append(Row(head, cells))
    if result.precision != "float32":
        cells = [_accuracy(n.float_holdout_accuracy, holdout) for n in networks]
        rows.append(Row(Cell("Hold-out accuracy in float32", "before quantisation"), cells))
    return rows


def _in(result: JobResult) -> str:
    """What is added to the names of accuracies where there are those of two precisions."""
    return "" if result.precision == "float32" else f", {result.precision} .tflite"


def _accuracy(accuracy: float | None, examples: int) -> Cell:
    bounds = interval(accuracy, examples)
    note = "" if bounds is None else f"{bounds[0]:.1%} to {bounds[1]:.1%}"
    return Cell(percent(accuracy, 2), note)


def iteration_table(result: JobResult) -> Table | None:
    """What each iteration changed, and what that came to; None without a history."""
    if not result.history:
        return None
    resources, target = result.names, result.target
    columns = ["Iteration", "Changed", *(heading(r) for r in resources)]
    several = len(resources) > 1
    columns += [*(["Bound by"] if several else []), "Hold-out accuracy"]
    columns += [*(["Fine-tuned to the end"] if target else []), "Proposals"]
    before = result.network("original").widths
    rows = []
    for iteration in result.history:
        cells = [_changes(iteration, before)]
        cells += [_cost_cell(iteration, resource, result) for resource in resources]
        if several:
            cells.append(Cell(resource_label(iteration.binding) if iteration.binding else UNKNOWN))
        cells.append(Cell(percent(iteration.accuracy, 2)))
        if target:
            cells.append(Cell(percent(target.judged.get(iteration.number), 2)))
        cells.append(Cell(count(len(iteration.proposals)) if iteration.proposals else UNKNOWN))
        chosen = target is not None and iteration.number == target.iteration
        rows.append(Row(Cell(str(iteration.number)), cells, marked=chosen))
        before = iteration.widths
    return Table("Each iteration: what it changed and what that came to", columns, rows)


def _changes(iteration: Iteration, before: Mapping[str, int]) -> Cell:
    changed = [
        f"{name} {before[name]} → {width}"
        for name, width in iteration.widths.items()
        if name in before and before[name] != width
    ]
    if not changed:
        return Cell("nothing", "the original" if iteration.number == 0 else "")
    more = len(changed) - _CHANGES_SHOWN
    note = f"and {more} more groups" if more > 1 else f"and {changed[-1]}" if more == 1 else ""
    return Cell("; ".join(changed[:_CHANGES_SHOWN]), note)


def _cost_cell(iteration: Iteration, resource: str, result: JobResult) -> Cell:
    """What is needed of `resource`, as a share of the original, and how that came to be known.

    Where the network was measured as a whole, also by how much that is more.
    """
    cost = cost_of(iteration.cost)
    if resource not in cost:
        return Cell(UNKNOWN)
    parts = cost[resource]
    share = ratio(parts.value, first_cost(result, resource))
    notes = [] if share is None else [f"{percent(share)} of the original"]
    origins = [
        f"{percent(part, 0)} {origin}"
        for origin, value in parts.by_origin.items()
        if (part := ratio(value, parts.value)) is not None and value > 0
    ]
    notes += [", ".join(origins)] if origins else []
    whole = cost_value(iteration.measured or {}, resource)
    more = ratio(whole, parts.value)
    if resource in result.timed and more is not None:
        notes.append(f"{change(more - 1)} measured as a whole")
    return Cell(micro(amount(resource, parts.value)), "\n".join(notes))


def proposal_table(result: JobResult) -> Table | None:
    """Every proposal of every iteration, the chosen ones marked; None where there are none."""
    resources = result.names
    rows = [
        _proposal_row(iteration, proposal, resources)
        for iteration in result.history
        for proposal in iteration.proposals
    ]
    if not rows:
        return None
    columns = ["Iteration", "Narrowed to", *(heading(r) for r in resources)]
    columns += ["Hold-out accuracy", "Hold-out loss", "Steps"]
    screened = ""
    if result.precision != "float32":
        screened = f"; those only tried scored in float32, the others in {result.precision}"
    text = f"All proposals, the chosen one of each iteration marked{screened}"
    return Table(text, columns, rows)


def _proposal_row(iteration: Iteration, proposal: Proposal, resources: Sequence[str]) -> Row:
    costs = [Cell(micro(amount(r, cost_value(proposal.cost, r)))) for r in resources]
    loss = UNKNOWN if ratio(proposal.loss, 1) is None else f"{proposal.loss:.4g}"
    narrowed = "; ".join(f"{name} {width}" for name, width in proposal.widths.items())
    cells = [Cell(narrowed, "chosen" if proposal.chosen else ""), *costs]
    cells += [Cell(percent(proposal.accuracy, 2)), Cell(loss), Cell(count(proposal.steps))]
    return Row(Cell(str(iteration.number)), cells, marked=proposal.chosen)
