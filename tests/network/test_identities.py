from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.network.identities import Identities

COUNT = 12
pairs = st.lists(st.tuples(st.integers(0, COUNT - 1), st.integers(0, COUNT - 1)), max_size=20)


def united(unions: list[tuple[int, int]]) -> Identities:
    ids = Identities()
    ids.fresh(COUNT)
    for left, right in unions:
        ids.unite(np.array([left]), np.array([right]))
    return ids


def classes(unions: list[tuple[int, int]]) -> list[int]:
    """The least member of each id's class, found by relabelling until nothing changes."""
    label = list(range(COUNT))
    for left, right in unions:
        old, new = max(label[left], label[right]), min(label[left], label[right])
        label = [new if x == old else x for x in label]
    return label


@given(pairs)
def test_roots_are_the_least_members_of_the_classes(unions: list[tuple[int, int]]) -> None:
    assert united(unions).roots().tolist() == classes(unions)


@given(pairs, st.randoms())
def test_the_order_of_unions_does_not_matter(unions: list[tuple[int, int]], random: Random) -> None:
    shuffled = [pair if random.random() < 0.5 else pair[::-1] for pair in unions]
    random.shuffle(shuffled)
    assert united(shuffled).roots().tolist() == united(unions).roots().tolist()


def test_fresh_ids_are_new() -> None:
    ids = Identities()
    assert ids.fresh(2).tolist() == [0, 1]
    assert ids.fresh(3).tolist() == [2, 3, 4]
    assert ids.roots().tolist() == [0, 1, 2, 3, 4]


def test_unequal_lengths_are_not_united() -> None:
    ids = Identities()
    with pytest.raises(ValueError, match="shorter"):
        ids.unite(ids.fresh(3), ids.fresh(2))


def test_frozen_ids_are_sorted_and_unique() -> None:
    ids = Identities()
    ids.fresh(5)
    ids.freeze(np.array([3, 1]))
    ids.freeze(np.array([1]))
    assert ids.frozen().tolist() == [1, 3]


def test_a_second_use_of_an_axis_unites() -> None:
    ids = Identities()
    first, second = ids.fresh(2), ids.fresh(2)
    ids.use(("conv", 0), 2, first)
    ids.use(("conv", 0), 2, second)
    ids.use(("conv", 0), 3, ids.fresh(4), produces=True)
    assert len(ids.uses) == 2
    assert ids.roots().tolist() == [0, 1, 0, 1, 4, 5, 6, 7]
