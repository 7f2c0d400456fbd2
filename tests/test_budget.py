"""Budgets as users write them, and amounts as they read them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.budget import RESOURCES, Budget, format_amount, within
from adapt.errors import UsageError

ORIGINAL = {
    "latency": 271.0,
    "energy": 900.0,
    "macs": 12_501_632.0,
    "params": 78_666.0,
    "size": 318_144.0,
    "memory": 131_072.0,
}


@pytest.mark.parametrize(
    ("text", "limit"),
    [
        ("latency=12ms", 12_000.0),
        ("latency=1.2ms", 1_200.0),
        ("latency=.5s", 500_000.0),
        ("latency=90us", 90.0),
        ("latency=50%", 135.5),
        ("latency=100%", 271.0),
        ("latency=0.5%", 1.355),
        ("energy=3mJ", 3_000.0),
        ("energy=70%", 630.0),
        ("macs=6M", 6e6),
        ("macs=6000000", 6e6),
        ("params=40k", 40_000.0),
        ("size=256KiB", 262_144.0),
        ("size=1MB", 1e6),
        ("memory=64kB", 64_000.0),
        (" memory=512B ", 512.0),
    ],
)
def test_forms(text: str, limit: float) -> None:
    budget = Budget.parse([text])
    (resource,) = budget.resources
    assert budget.resolve(ORIGINAL) == {resource: pytest.approx(limit)}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "not a budget"),
        ("latency", "not a budget"),
        ("latency=", "not a budget"),
        ("latency=fast", "not a budget"),
        ("latency=-5ms", "not a budget"),
        ("latency=5 ms", "not a budget"),
        ("latency=1e3us", "not a budget"),
        ("latency=nanms", "not a budget"),
        ("latency=\u0665ms", "not a budget"),
        ("speed=5", "no such resource"),
        ("latency=5", "lacks a unit"),
        ("size=5", "lacks a unit"),
        ("latency=5k", "no unit of latency: 'k'"),
        ("macs=5m", "no unit of macs: 'm'"),
        ("latency=0%", "outside 0 to 100"),
        ("latency=101%", "outside 0 to 100"),
        ("macs=0", "leaves nothing"),
        (f"macs={'9' * 400}", "leaves nothing"),
    ],
)
def test_mistakes_are_named_with_what_is_accepted(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as caught:
        Budget.parse(["params=40k", text])
    assert caught.value.todo
    assert caught.value.exit_code == 2


def test_bad_syntax_lists_every_form() -> None:
    with pytest.raises(UsageError) as caught:
        Budget.parse(["half"])
    words = caught.value.todo.replace(",", " ").replace(";", " ").split()
    for resource in RESOURCES.values():
        assert {resource.example, *resource.units} - {""} <= set(words)


def test_examples_are_valid() -> None:
    budget = Budget.parse(resource.example for resource in RESOURCES.values())
    assert budget.resources == set(RESOURCES)


def test_the_same_resource_twice() -> None:
    with pytest.raises(UsageError, match="limits latency twice"):
        Budget.parse(["latency=50%", "macs=6M", "latency=12ms"])


def test_no_budget_at_all() -> None:
    with pytest.raises(UsageError, match="empty"):
        Budget.parse([])


def test_all_limits_must_hold() -> None:
    budget = Budget.parse(["latency=50%", "macs=6M"])
    assert str(budget) == "latency=50%, macs=6M"
    assert budget.met_by({"latency": 135.5, "macs": 6e6, "params": 1e9}, ORIGINAL)
    assert not budget.met_by({"latency": 135.6, "macs": 6e6}, ORIGINAL)
    assert not budget.met_by({"latency": 135.5, "macs": 6e6 + 1}, ORIGINAL)
    with pytest.raises(KeyError):
        budget.met_by({"latency": 1.0}, ORIGINAL)
    with pytest.raises(KeyError):
        budget.resolve({"macs": 1.0})


def test_rounding_does_not_break_a_limit() -> None:
    assert within({"latency": 0.1 + 0.2}, {"latency": 0.3})


@pytest.mark.parametrize(
    ("resource", "value", "text"),
    [
        ("latency", 0.44, "0.440 us"),
        ("latency", 271.0, "271 us"),
        ("latency", 135.52, "136 us"),
        ("latency", 999.4, "999 us"),
        ("latency", 999.6, "1.00 ms"),
        ("latency", 1_230.0, "1.23 ms"),
        ("latency", 4.2e9, "4200 s"),
        ("energy", 3_000.0, "3.00 mJ"),
        ("macs", 12_501_632.0, "12.5 M"),
        ("macs", 6e6, "6.00 M"),
        ("params", 512.0, "512"),
        ("params", 78_666.0, "78.7 k"),
        ("size", 318_144.0, "318 kB"),
        ("memory", 0.0, "0 B"),
    ],
)
def test_amounts_for_people(resource: str, value: float, text: str) -> None:
    assert format_amount(resource, value) == text


@given(
    st.sampled_from([(r.name, unit) for r in RESOURCES.values() for unit in (*r.units, "%")]),
    st.decimals("0.01", 100, places=2),
)
def test_what_is_shown_can_be_given_back(form: tuple[str, str], number: Decimal) -> None:
    name, unit = form
    budget = Budget.parse([f"{name}={number}{unit}"])
    limit = budget.resolve(ORIGINAL)[name]
    assert Budget.parse([str(budget)]) == budget
    shown = Budget.parse([f"{name}={format_amount(name, limit).replace(' ', '')}"])
    assert shown.resolve(ORIGINAL)[name] == pytest.approx(limit, rel=0.006)
