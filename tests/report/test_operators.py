"""Operators before and after."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from adapt.job import JobResult, NetworkResult
from adapt.job.result import OperatorResult
from adapt.report.operators import operator_table


def operator(op: str, channels: int, **latency_us: float) -> OperatorResult:
    return OperatorResult(op=op, shape=[1, 4, 4, channels], latency_us=latency_us)


def job(
    result_of: Callable[..., JobResult],
    network_of: Callable[..., NetworkResult],
    before: list[OperatorResult],
    after: list[OperatorResult],
) -> JobResult:
    return result_of(
        networks=[
            network_of("original", 1.0, 0.9, operators=before),
            network_of("adapted", 0.5, 0.9, operators=after),
        ]
    )


def test_shapes_and_latencies_side_by_side(result_of: Any, network_of: Any) -> None:
    before = [operator("CONV_2D", 16, latency=8.0), operator("ADD", 16, latency=1.0)]
    after = [operator("CONV_2D", 8, latency=2.0), operator("ADD", 8)]
    table = operator_table(job(result_of, network_of, before, after))
    assert table is not None
    assert table.columns == ["Operator", "Result", "Latency, original", "adapted"]
    first, second = table.rows
    assert [first.head.text, *(cell.text for cell in first.cells)] == [
        "0 CONV_2D",
        "1x4x4x16 → 1x4x4x8",
        "8 µs",
        "2 µs",
    ]
    assert first.cells[2].note == "25.0%"
    assert second.cells[2].text == "—"


def test_an_operator_that_only_one_has(result_of: Any, network_of: Any) -> None:
    before = [operator("PAD", 3, latency=1.0), operator("CONV_2D", 16, latency=8.0)]
    after = [operator("CONV_2D", 16, latency=8.0)]
    table = operator_table(job(result_of, network_of, before, after))
    assert table is not None
    assert [row.head.text for row in table.rows] == ["0 PAD", "1 CONV_2D"]
    assert table.rows[0].cells[-1].text == "—"
    assert table.rows[1].cells[0].text == "1x4x4x16"


def test_nothing_where_no_operators_are_known(result_of: Any) -> None:
    assert operator_table(result_of()) is None
