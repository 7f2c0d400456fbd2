"""The operators of the original and the adapted network, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from adapt.job.result import JobResult, OperatorResult
from adapt.report.tables import Cell, Row, Table, heading
from adapt.report.values import UNKNOWN, amount, micro, percent, ratio

__all__ = ["operator_table"]

_Pair = tuple[OperatorResult | None, OperatorResult | None]


def operator_table(result: JobResult) -> Table | None:
    """Shapes and predicted latencies before and after; None where no operators are known."""
    before, after = (result.network(name).operators for name in ("original", "adapted"))
    names = list(dict.fromkeys(name for each in before for name in each.latency_us))
    if not before or not after:
        return None
    columns = ["Operator", "Result"]
    for name in names:
        columns += [f"{heading(name)}, original", "adapted"]
    return Table(
        "In the order in which they run; latencies as predicted, from the same minutes",
        columns,
        [_row(number, pair, names) for number, pair in enumerate(_paired(before, after))],
    )


def _row(number: int, pair: _Pair, names: Sequence[str]) -> Row:
    first, second = pair
    known = first or second
    assert known is not None
    shapes = dict.fromkeys("x".join(map(str, each.shape)) for each in pair if each is not None)
    cells = [Cell(" → ".join(shapes))]
    for name in names:
        old, new = (None if each is None else each.latency_us.get(name) for each in pair)
        share = ratio(new, old)
        cells += [_latency(name, old), _latency(name, new, "" if share is None else percent(share))]
    return Row(Cell(f"{number} {known.op}"), cells)


def _latency(name: str, value: float | None, note: str = "") -> Cell:
    return Cell(UNKNOWN if value is None else micro(amount(name, value)), note)


def _paired(before: Sequence[OperatorResult], after: Sequence[OperatorResult]) -> Iterator[_Pair]:
    """Operators that stand for each other: the converter may leave some out of one network."""
    old, new = ([each.op for each in operators] for operators in (before, after))
    for tag, a, b, c, d in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            yield from zip(before[a:b], after[c:d], strict=True)
        else:
            yield from ((each, None) for each in before[a:b])
            yield from ((None, each) for each in after[c:d])
