"""Budgets as users write them, and amounts as they read them."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.budget import (
    RESOURCES,
    Budget,
    binding,
    format_amount,
    own_resources,
    parse_names,
    within,
)
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
    assert within({"latency": 135.5, "macs": 6e6, "params": 1e9}, budget.resolve(ORIGINAL))
    assert not within({"latency": 135.6, "macs": 6e6}, budget.resolve(ORIGINAL))
    assert not within({"latency": 135.5, "macs": 6e6 + 1}, budget.resolve(ORIGINAL))
    with pytest.raises(KeyError):
        within({"latency": 1.0}, budget.resolve(ORIGINAL))
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


OWN = own_resources()


def test_a_limit_holds_on_every_device() -> None:
    budget = Budget.parse(["latency=50%", "macs=1M"]).on(["pixel-6", "pi"], OWN)
    assert budget.resources == {"latency@pixel-6", "latency@pi", "macs"}
    original = {"latency@pixel-6": 10.0, "latency@pi": 30.0, "macs": 5e6}
    assert budget.resolve(original) == {"latency@pixel-6": 5.0, "latency@pi": 15.0, "macs": 1e6}
    assert not within(
        {"latency@pixel-6": 5.0, "latency@pi": 16.0, "macs": 1.0}, budget.resolve(original)
    )


def test_a_limit_for_one_device() -> None:
    texts = ["latency@pi=20ms", "latency@local,threads=2=1.5us", "energy@pi=50%"]
    budget = Budget.parse(texts).on(["pi", "local,threads=2"], OWN)
    assert {limit.name: (limit.value, limit.relative) for limit in budget.limits} == {
        "latency@pi": (20e3, False),
        "latency@local,threads=2": (1.5, False),
        "energy@pi": (0.5, True),
    }


def test_a_limit_for_one_device_goes_before_that_for_all() -> None:
    for texts in (["latency=50%", "latency@pi=80%"], ["latency@pi=80%", "latency=50%"]):
        budget = Budget.parse(texts).on(["pi", "fast"], OWN)
        assert {limit.name: limit.value for limit in budget.limits} == {
            "latency@pi": 0.8,
            "latency@fast": 0.5,
        }


def test_the_only_device_needs_no_name() -> None:
    for text in ("latency=50%", "latency@pi=50%"):
        assert Budget.parse([text]).on(["pi"], OWN).resources == {"latency"}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["latency@pixel=50%"], "'pixel', which is no --device"),
        (["macs@pi=50%"], "macs is the same on all"),
        (["latency@pi=50%", "latency@pi=1ms"], "latency@pi twice"),
        (["latency@=50%"], "not a budget"),
        (["beauty@pi=50%"], "no such resource"),
    ],
)
def test_a_device_that_makes_no_sense(texts: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        Budget.parse(texts).on(["pi", "fast"], OWN)
    assert caught.value.todo


def test_energy_of_a_model_is_that_of_all_devices() -> None:
    own = own_resources(modelled_energy=True)
    assert Budget.parse(["energy=50%"]).on(["pi", "fast"], own).resources == {"energy"}
    with pytest.raises(UsageError, match="energy is the same on all"):
        Budget.parse(["energy@pi=50%"]).on(["pi", "fast"], own)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("latency", ["latency@pi", "latency@fast"]),
        ("latency@fast", ["latency@fast"]),
        ("macs", ["macs"]),
    ],
)
def test_names_of_a_resource(text: str, names: list[str]) -> None:
    assert parse_names(text, ["pi", "fast"], OWN) == names


@pytest.mark.parametrize("text", ["speed", "latency@slow", "macs@pi", ""])
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(UsageError, match="no such resource"):
        parse_names(text, ["pi", "fast"], OWN)
    assert parse_names("latency@pi", ["pi"], OWN) == ["latency"]


def test_which_limit_binds() -> None:
    limits = {"latency@pi": 10.0, "macs": 1e6}
    assert binding({"latency@pi": 9.0, "macs": 8e5}, limits) == "latency@pi"
    assert binding({"latency@pi": 9.0, "macs": 2e6}, limits) == "macs"
    assert binding({}, {}) == ""
