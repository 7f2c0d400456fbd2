"""Kinds of pairs are learnt from the times of pairs and their parts."""

from __future__ import annotations

from typing import Any

import pytest

from adapt.cost import Missing, TableLatency
from adapt.cost.fusion import PAIR_FACTS, Fusion
from adapt.refresh import measure_kernels
from adapt.refresh.pairs import PAIRS_OF_A_KIND, learn_pairs
from adapt.tflite.ops import make_kernel
from adapt.tflite.pairs import Pair, pairs_of
from lookup_tables import Kernel, Platform, Store, Tensor


def swish(units: int) -> list[Kernel]:
    """x * sigmoid(x) of int8, which runtimes may compute as one function."""
    x = Tensor("int8", (1, 16, 16, units))
    return [make_kernel("LOGISTIC", [x], [x]), make_kernel("MUL", [x, x], [x])]


def pairs(*sizes: int) -> list[Pair]:
    found = [pairs_of(swish(units))[0] for units in sizes]
    return [pair for pair in found if pair is not None]


KIND = PAIR_FACTS + "LOGISTIC>MUL(same,result) int8"


def test_what_takes_as_long_as_its_parts_is_additive(
    store: Store, device: Any, platform: Platform
) -> None:
    facts = learn_pairs(store, device, pairs(8, 16))
    assert facts == store.facts(platform)
    assert facts[KIND].value == Fusion.NONE
    times = facts[KIND].evidence["first_second_both_us"]
    assert isinstance(times, list)
    assert [pytest.approx([9.5, 9.5, 19.0], rel=0.001)] * 2 == times


@pytest.mark.parametrize("case", [Fusion.FIRST_FREE, Fusion.SECOND_FREE])
def test_what_takes_as_long_as_one_of_them_is_not(store: Store, device: Any, case: Fusion) -> None:
    first, second = swish(8)
    device.times_us |= {first.key: 30.0, second.key: 20.0}
    device.times_us[f"{first.key}-{second.key}"] = 30.0 if case == Fusion.SECOND_FREE else 20.0
    assert learn_pairs(store, device, pairs(8))[KIND].value == case


def test_few_of_a_kind_are_timed(store: Store, device: Any) -> None:
    learn_pairs(store, device, pairs(*range(8, 88, 8)))
    (batch,) = device.batches
    assert sum("-" in name for name in batch) == PAIRS_OF_A_KIND


def test_pairs_too_short_to_tell_leave_the_kind_open(
    store: Store, device: Any, platform: Platform
) -> None:
    short, long = swish(8), swish(16)
    device.times_us |= {kernel.key: 0.51 for kernel in short}
    device.times_us[f"{short[0].key}-{short[1].key}"] = 0.52
    measure_kernels(store, device, [*short, *long])
    assert learn_pairs(store, device, pairs(8))[KIND].value == Fusion.UNTOLD
    with pytest.raises(Missing) as caught:
        TableLatency(store, platform).price(long)
    assert learn_pairs(store, device, caught.value.pairs)[KIND].value == Fusion.NONE
    TableLatency(store, platform).price(long)


def test_the_most_telling_pairs_are_timed(store: Store, device: Any) -> None:
    for units in range(8, 88, 8):
        device.times_us |= {kernel.key: 0.501 + units / 1000 for kernel in swish(units)}
    measure_kernels(store, device, [k for units in range(8, 88, 8) for k in swish(units)])
    device.batches.clear()
    learn_pairs(store, device, pairs(*range(8, 88, 8)))
    ids = [f"{first.key}-{second.key}" for first, second in map(swish, (64, 72, 80))]
    assert {name for name in device.batches[0] if "-" in name} == set(ids)
