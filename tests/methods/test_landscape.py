"""Ways to narrow several groups, on devices that are easy to see through."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.budget import within
from adapt.cost import Cost, Missing, counted
from adapt.methods.landscape import Landscape, Widths
from adapt.methods.proposals import mended, proposals
from adapt.methods.widths import levels
from adapt.network.groups import Group

WIDTHS = {"a": 16, "b": 32, "c": 64}
GROUPS = tuple(Group(name, np.arange(width), (name,)) for name, width in WIDTHS.items())


def smooth(widths: Mapping[str, int]) -> Cost:
    """A chain of layers, each of which reads the one before."""
    a, b, c = (widths[name] for name in WIDTHS)
    return counted({"macs": 100 * (3 * a + a * b + b * c + c)})


def stepped(widths: Mapping[str, int]) -> Cost:
    """The same on a device that takes eight channels at a time."""
    return smooth({name: 8 * math.ceil(width / 8) for name, width in widths.items()})


def slowest(widths: Mapping[str, int]) -> Cost:
    """A device on which the widest group alone decides; two are equally wide."""
    return counted({"macs": max(widths["b"] * 2, widths["c"])})


def lost(group: str, width: int) -> float:
    """What goes of a group, squared: deep cuts are dear."""
    return (1 - width / WIDTHS[group]) ** 2


def landscape(price: object, share: float) -> Landscape:
    goal = {name: share * value for name, value in price(WIDTHS).values_by_resource.items()}  # type: ignore[operator]
    return Landscape(GROUPS, WIDTHS, goal, price)  # type: ignore[arg-type]


def total_lost(widths: Mapping[str, int]) -> float:
    return sum(lost(name, width) for name, width in widths.items())


@pytest.mark.parametrize("price", [smooth, stepped, slowest])
@given(share=st.floats(0.2, 0.99))
def test_greedy_reaches_the_goal_and_no_more(price: object, share: float) -> None:
    ways = landscape(price, share)
    widths = ways.greedy(lost)
    assert ways.meets(widths)
    for group in GROUPS:
        wider = [level for level in levels(group) if level > widths[group.name]]
        if wider:  # No group can be given one level back.
            assert not ways.meets({**widths, group.name: wider[0]})


@given(share=st.floats(0.3, 0.9))
def test_several_groups_lose_less_than_one(share: float) -> None:
    ways = landscape(smooth, share)
    together = ways.greedy(lost)
    assert all(total_lost(together) <= total_lost(alone) + 0.05 for alone in ways.alone())


def test_what_is_dear_stays() -> None:
    ways = landscape(smooth, 0.6)
    widths = ways.greedy(lambda group, width: lost(group, width) * (100 if group == "b" else 1))
    assert widths["b"] == 32
    assert widths["c"] < 64


def test_of_a_staircase_the_ends_of_steps_are_options() -> None:
    ways = landscape(stepped, 0.5)
    assert [option.width for option in ways.options["b"]] == [24, 16]
    assert all(0 < option.won <= 1 for options in ways.options.values() for option in options)


def test_where_no_group_wins_anything_alone_all_are_narrowed() -> None:
    ways = landscape(slowest, 0.6)
    assert not any(ways.options.values())
    assert not list(ways.alone())
    widths = ways.scaled()
    assert ways.meets(widths)
    assert max(widths["b"] * 2, widths["c"]) > 0.5 * 64


def test_mending_changes_little() -> None:
    nearly = {"a": 16, "b": 18, "c": 56}
    cost = smooth(nearly).values_by_resource["macs"]
    ways = Landscape(GROUPS, WIDTHS, {"macs": 0.97 * cost}, smooth)
    mended = ways.mended(nearly, lost)
    assert ways.meets(mended)
    assert sum(mended[name] != width for name, width in nearly.items()) <= 2
    assert smooth(mended).values_by_resource["macs"] > 0.93 * cost


def test_all_that_lacks_is_asked_for_at_once() -> None:
    def priced(widths: Mapping[str, int]) -> Cost:
        if dict(widths) != WIDTHS:
            raise Missing(wholes=[widths])
        return smooth(widths)

    with pytest.raises(Missing) as caught:
        Landscape(GROUPS, WIDTHS, {"macs": 1e5}, priced)
    narrowed = [
        [name for name, width in WIDTHS.items() if widths[name] != width]
        for widths in caught.value.wholes
    ]
    assert {tuple(names) for names in narrowed} == {("a",), ("b",), ("c",)}
    assert len(narrowed) == 3 * 8


@pytest.mark.parametrize("seed", [0, 1])
def test_proposals_differ_and_reach_the_goal(seed: int) -> None:
    ways = landscape(smooth, 0.6)
    first = proposals(ways, lost, [], 10, seed)
    assert 5 <= len(first) <= 10
    assert len({tuple(widths.values()) for widths in first}) == len(first)
    goal = {"macs": 0.6 * smooth(WIDTHS).values_by_resource["macs"]}
    assert all(within(smooth(widths).values_by_resource, goal) for widths in first)
    changed = [sum(widths[n] != w for n, w in WIDTHS.items()) for widths in first]
    assert {1, 2, 3} & set(changed) == {1, 2, 3} - ({2} - set(changed))
    assert proposals(ways, lost, [], 10, seed) == first
    second = proposals(ways, lost, first, 10, seed + 100)
    assert not [widths for widths in second if widths in first]


@pytest.mark.parametrize("price", [smooth, stepped])
def test_neighbours_differ_in_one_group_at_least_and_reach_the_goal(price: object) -> None:
    ways = landscape(price, 0.6)
    best = ways.greedy(lost)
    found = [way() for way in ways.neighbours(best, lost)]
    assert all(ways.meets(widths) for widths in found)
    others = [widths for widths in found if widths != best]
    assert len(others) >= 3
    # Each group is tried wider or narrower than it was.
    assert all(any(widths[name] != best[name] for widths in others) for name in WIDTHS)


def test_later_proposals_look_near_the_best() -> None:
    ways = landscape(smooth, 0.6)
    first = sorted(proposals(ways, lost, [], 10, 0), key=total_lost)
    second = proposals(ways, lost, first, 10, 100)
    near = [way() for widths in first[:2] for way in ways.neighbours(widths, lost)]
    assert any(widths in near for widths in second)
    assert len(second) == 10


@given(share=st.floats(0.3, 0.9), seed=st.integers(0, 20))
def test_mending_leaves_little_unused_where_something_near_does_not(
    share: float, seed: int
) -> None:
    ways = landscape(stepped, share)
    for widths in proposals(landscape(stepped, share * 0.95), lost, [], 3, seed):
        plain = ways.mended(widths, lost)
        near = mended(ways, lost, widths, [], 0.98)
        assert near is not None
        found, more = near
        assert ways.meets(found)
        assert ways.used(found) >= min(0.98, ways.used(plain))
        assert more == pytest.approx(total_lost(found) - total_lost(widths))


def test_mending_comes_to_what_is_not_known_or_to_nothing() -> None:
    ways = landscape(stepped, 0.6)
    widths = proposals(landscape(stepped, 0.57), lost, [], 1, 0)[0]
    known: list[Widths] = []
    while (near := mended(ways, lost, widths, known, 0.98)) is not None:
        assert near[0] not in known
        known.append(near[0])
    assert len(known) >= 3
