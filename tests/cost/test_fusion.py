"""Which kernels are free beside their neighbours, and that kinds of pairs are told apart."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from adapt.cost import Missing, TableLatency
from adapt.cost.fusion import PAIR_FACTS, Fusion, PairTimes, free_kernels, judge_pairs
from adapt.tflite.pairs import Pair, pairs_of
from lookup_tables import Kernel, Platform, Store, Tensor

X, SMALL = Tensor("int8", (1, 4, 4, 8)), Tensor("int8", (1, 1, 1, 8))
LOGISTIC = Kernel.make("LOGISTIC", [X], [X])
SWISH = Kernel.make("MUL", [X, X], [X], {"fused_activation_function": "NONE"})
SCALE = Kernel.make("MUL", [X, SMALL], [X], {"fused_activation_function": "NONE"})
RELU = Kernel.make("RELU", [X], [X])


@pytest.mark.parametrize(
    ("both", "expected"),
    [(5.0, Fusion.NONE), (4.8, Fusion.NONE), (4.1, Fusion.SECOND_FREE), (1.1, Fusion.FIRST_FREE)],
)
def test_the_closest_case_counts(both: float, expected: Fusion) -> None:
    assert judge_pairs([PairTimes(4.0, 1.0, both)]) == expected


def test_one_disturbed_pair_of_three_changes_nothing() -> None:
    times = [PairTimes(4.0, 3.0, both) for both in (7.1, 6.9, 4.1)]
    assert judge_pairs(times) == Fusion.NONE


def test_pairs_that_tell_nothing_are_taken_as_additive() -> None:
    assert judge_pairs([]) == Fusion.NONE
    assert judge_pairs([PairTimes(100.0, 0.1, 50.0), PairTimes(5.0, 5.0, -0.1)]) == Fusion.NONE


def test_wiring_is_part_of_the_kind() -> None:
    swish, none, gate = pairs_of([LOGISTIC, SWISH, RELU, SCALE])
    assert swish == Pair(LOGISTIC, SWISH, ("same", "result"))
    assert swish.kind == "LOGISTIC>MUL(same,result) int8"
    assert none == Pair(SWISH, RELU, ("result",))
    assert gate == Pair(RELU, SCALE, ("result", "other"))


def test_kernels_that_do_not_feed_each_other_make_no_pair() -> None:
    assert pairs_of([Kernel.make("RELU", [SMALL], [SMALL]), RELU]) == [None]
    assert pairs_of([RELU]) == []


def test_a_free_kernel_costs_nothing_in_the_network(
    tmp_path: Path, platform: Platform, record_us: Any
) -> None:
    with Store(tmp_path / "table.db") as store:
        record_us(store, platform, {LOGISTIC: 4.0, SWISH: 2.0})
        network = [LOGISTIC, SWISH]
        with pytest.raises(Missing) as caught:
            TableLatency(store, platform).price(network)
        (pair,) = caught.value.pairs
        assert "LOGISTIC>MUL(same,result) int8" in str(caught.value)
        for case, expected in (
            (Fusion.NONE, [4.0, 2.0]),
            (Fusion.FIRST_FREE, [0.0, 2.0]),
            (Fusion.SECOND_FREE, [4.0, 0.0]),
        ):
            store.record_fact(platform, PAIR_FACTS + pair.kind, case, {})
            each = TableLatency(store, platform).price_each(network)
            assert [cost["latency"].value for cost in each] == pytest.approx(expected)


def test_what_others_did_not_tell_is_asked_of_those_that_would() -> None:
    facts = {PAIR_FACTS + "LOGISTIC>MUL(same,result) int8": float(Fusion.UNTOLD)}
    for times, asked in (([4.0, 2.0], True), ([4.0, 0.2], False), ([0.04, 0.04], False)):
        trial = free_kernels([LOGISTIC, SWISH], times, facts)
        assert (trial.free, bool(trial.unknown)) == (frozenset(), asked)
    assert not free_kernels([LOGISTIC, SWISH], [4.0, None], facts).unknown


def test_a_price_notices_what_was_untold_and_is_told_now(
    tmp_path: Path, platform: Platform, record_us: Any
) -> None:
    with Store(tmp_path / "table.db") as store:
        record_us(store, platform, {LOGISTIC: 4.0, SWISH: 2.0})
        fact = PAIR_FACTS + "LOGISTIC>MUL(same,result) int8"
        store.record_fact(platform, fact, Fusion.UNTOLD, {})
        # A job's, which lives for as long as it searches.
        table = TableLatency(store, platform)
        with pytest.raises(Missing):
            table.price([LOGISTIC, SWISH])
        store.record_fact(platform, fact, Fusion.SECOND_FREE, {})
        each = table.price_each([LOGISTIC, SWISH])
        assert [cost["latency"].value for cost in each] == pytest.approx([4.0, 0.0])


def test_unknown_kinds_are_named() -> None:
    trial = free_kernels([LOGISTIC, SWISH], [None, None], {})
    assert trial.free == frozenset()
    assert [pair.kind for pair in trial.unknown] == ["LOGISTIC>MUL(same,result) int8"]
