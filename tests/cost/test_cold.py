"""Which of a kernel's two times a network pays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.cost import Missing, TableLatency
from adapt.cost.cold import (
    CACHE_FACT,
    L3_FACT,
    L3_PS_FACT,
    MAX_COPIES,
    MEMORY_FACTS,
    SHARES,
    SMALLEST_CACHE,
    beyond_share,
    cold_share,
    copies,
    turns_cold,
    uses_weights_once,
)
from adapt.tflite.quantities import weight_bytes
from lookup_tables import (
    Accepted,
    BatchRecord,
    ColdResult,
    Kernel,
    KernelResult,
    NullResult,
    Platform,
    Store,
    Tensor,
)

CACHE = 1 << 20
NULL_US = 0.5
HOT_US, COLD_US = 10.0, 16.0
OFTEN_PS, ONCE_PS = 20.0, 9.0


def dense(units: int, inputs: int = 1024) -> Kernel:
    """4 * units KiB of weights, without a bias."""
    tensors = [Tensor("float32", (1, inputs)), Tensor("float32", (units, inputs), True), None]
    return Kernel.make("FULLY_CONNECTED", tensors, [Tensor("float32", (1, units))])


# 256 KiB each.
LAYERS = [dense(64), dense(32, 2048), dense(16, 4096), dense(128, 512), dense(256, 256)]
SMALL = dense(1)
RELU = Kernel.make("RELU", [Tensor("float32", (1, 64))], [Tensor("float32", (1, 64))])


def record_hot(store: Store, platform: Platform, *kernels: Kernel) -> None:
    null = NullResult((), Accepted(NULL_US, 0.0, 2))
    results = tuple(
        KernelResult(k, (), Accepted(HOT_US + NULL_US, 0.0, 2), nodes=1) for k in kernels
    )
    store.record_batch(platform, BatchRecord(wall_ms=1.0, null=null, kernels=results))


def record_cold(store: Store, platform: Platform, *kernels: Kernel, us: float = COLD_US) -> None:
    results = tuple(ColdResult(k, 9, (), Accepted(us, 0.0, 2)) for k in kernels)
    store.record_batch(platform, BatchRecord(wall_ms=1.0, cold=results))


@pytest.fixture
def table(tmp_path: Path, platform: Platform, know_pairs: Any) -> Iterator[Store]:
    with Store(tmp_path / "cold.db") as store:
        record_hot(store, platform, *LAYERS, SMALL, RELU)
        for name, value in zip(MEMORY_FACTS, (32 * CACHE, OFTEN_PS, ONCE_PS), strict=True):
            store.record_fact(platform, name, value, {})
        store.record_fact(platform, L3_PS_FACT, 10.0, {})
        know_pairs(store, platform, [LAYERS[0], RELU])
        yield store


def latency(model: TableLatency, kernels: list[Kernel]) -> float:
    return model.price(kernels)["latency"].value


def lack(question: Callable[[], object]) -> Missing:
    with pytest.raises(Missing) as caught:
        question()
    return caught.value


def test_share_rises_between_its_thresholds() -> None:
    assert cold_share(round(SHARES.cold_from * CACHE), CACHE) == pytest.approx(0, abs=1e-5)
    assert cold_share(CACHE, CACHE) == pytest.approx(0.5)
    assert cold_share(round(SHARES.cold_until * CACHE), CACHE) == pytest.approx(1, abs=1e-5)
    assert (cold_share(0, CACHE), cold_share(100 * CACHE, CACHE)) == (0, 1)


@given(st.integers(0, 1 << 28), st.floats(SMALLEST_CACHE, 1 << 24))
def test_copies_replace_the_whole_cache(weights: int, cache: float) -> None:
    if not turns_cold(weights, cache):
        assert weights * MAX_COPIES < 2 * cache or weights >= SHARES.cold_until * cache
        return
    count = copies(weights, cache)
    assert 2 <= count <= MAX_COPIES
    assert count * weights >= 2 * cache
    assert (count - 1) * weights <= max(2 * cache, weights)


def test_a_network_far_below_any_cache_asks_for_nothing(table: Store, platform: Platform) -> None:
    assert latency(TableLatency(table, platform), [SMALL, RELU]) == 2 * HOT_US + NULL_US


def test_the_cache_is_asked_for_and_then_cold_times(table: Store, platform: Platform) -> None:
    model = TableLatency(table, platform)
    network = [*LAYERS, SMALL, RELU]
    first = lack(lambda: model.price(network))
    assert (first.kernels, first.cold, first.facts) == ((), (), (CACHE_FACT,))
    table.record_fact(platform, CACHE_FACT, CACHE, {})
    second = lack(lambda: model.price(network))
    assert (second.kernels, second.cold, second.facts) == ((), tuple(LAYERS), ())
    assert "5 kernels have no time with cold weights" in str(second)
    record_cold(table, platform, *LAYERS)
    share = cold_share(sum(map(weight_bytes, network)), CACHE)
    expected = 7 * HOT_US + 5 * share * (COLD_US - HOT_US) + NULL_US
    assert 0 < share < 1
    assert latency(model, network) == pytest.approx(expected)


def test_below_the_lower_threshold_cold_times_do_not_count(
    table: Store, platform: Platform
) -> None:
    table.record_fact(platform, CACHE_FACT, CACHE, {})
    record_cold(table, platform, *LAYERS)
    assert latency(TableLatency(table, platform), LAYERS[:2]) == 2 * HOT_US + NULL_US


def test_above_the_upper_threshold_only_cold_times_count(table: Store, platform: Platform) -> None:
    table.record_fact(platform, CACHE_FACT, CACHE, {})
    record_cold(table, platform, *LAYERS)
    model = TableLatency(table, platform)
    network = [*LAYERS, LAYERS[0], RELU]
    assert latency(model, network) == pytest.approx(6 * COLD_US + HOT_US + NULL_US)
    assert latency(TableLatency(table, platform, cold=False), network) == 7 * HOT_US + NULL_US
    each = [cost["latency"].value for cost in model.price_each(network)]
    assert each == pytest.approx([COLD_US] * 6 + [HOT_US])


def test_a_kernel_larger_than_the_cache_is_cold_in_any_loop(
    table: Store, platform: Platform
) -> None:
    table.record_fact(platform, CACHE_FACT, SMALLEST_CACHE, {})
    assert latency(TableLatency(table, platform), LAYERS[:1]) == HOT_US + NULL_US


def test_cold_weights_never_make_a_kernel_faster(table: Store, platform: Platform) -> None:
    table.record_fact(platform, CACHE_FACT, CACHE, {})
    record_cold(table, platform, *LAYERS, us=HOT_US / 2)
    assert latency(TableLatency(table, platform), LAYERS) == 5 * HOT_US + NULL_US


def test_prices_do_not_move_with_what_is_learnt_later(table: Store, platform: Platform) -> None:
    table.record_fact(platform, CACHE_FACT, CACHE, {})
    record_cold(table, platform, *LAYERS)
    model = TableLatency(table, platform)
    before = latency(model, LAYERS)
    table.record_fact(platform, CACHE_FACT, CACHE / 4, {})
    record_cold(table, platform, *LAYERS, us=99.0)
    assert latency(model, LAYERS) == before
    assert latency(TableLatency(table, platform), LAYERS) > before


def conv(units: int, pixels: int) -> Kernel:
    """256 * units bytes of weights, without a bias."""
    tensors = [
        Tensor("float32", (1, pixels, 1, 64)),
        Tensor("float32", (units, 1, 1, 64), True),
        None,
    ]
    return Kernel.make("CONV_2D", tensors, [Tensor("float32", (1, pixels, 1, units))])


def test_a_vector_uses_each_weight_once() -> None:
    assert all(map(uses_weights_once, (*LAYERS, SMALL, conv(64, 1))))
    assert not any(map(uses_weights_once, (RELU, conv(64, 2))))


def test_share_beyond_the_last_cache_rises_between_its_thresholds() -> None:
    assert beyond_share(round(SHARES.l3_from * CACHE), CACHE) == pytest.approx(0, abs=1e-5)
    assert beyond_share(round(SHARES.l3_until * CACHE), CACHE) == pytest.approx(1, abs=1e-5)
    assert (beyond_share(0, CACHE), beyond_share(100 * CACHE, CACHE)) == (0, 1)


def test_weights_from_memory_take_the_time_that_was_learnt(
    table: Store, platform: Platform
) -> None:
    table.record_fact(platform, CACHE_FACT, 1 << 30, {})
    network = [*LAYERS, conv(4096, 4)]
    record_hot(table, platform, network[-1])
    near = latency(TableLatency(table, platform), network)
    assert near == 6 * HOT_US + NULL_US
    table.record_fact(platform, L3_FACT, CACHE / 2, {})
    extra_us = (5 * (CACHE / 4) * ONCE_PS + CACHE * OFTEN_PS) * 1e-6
    assert latency(TableLatency(table, platform), network) == pytest.approx(near + extra_us)


def test_activations_fill_the_last_cache_too(table: Store, platform: Platform) -> None:
    table.record_fact(platform, CACHE_FACT, 1 << 30, {})
    table.record_fact(platform, L3_FACT, CACHE, {})
    wide = conv(64, 16384)
    record_hot(table, platform, wide)
    assert latency(TableLatency(table, platform), [wide]) > HOT_US + NULL_US


def test_without_what_lies_beyond_the_last_cache_it_is_asked_for(
    tmp_path: Path, platform: Platform
) -> None:
    with Store(tmp_path / "new.db") as store:
        record_hot(store, platform, *LAYERS)
        store.record_fact(platform, CACHE_FACT, 1 << 30, {})
        model = TableLatency(store, platform)
        assert lack(lambda: model.price(LAYERS)).facts == MEMORY_FACTS
        answers, missing = model.answers(LAYERS)
        assert missing
        assert all(answer is not None and answer.hot for answer in answers)


def test_what_several_questions_lack_is_named_once() -> None:
    together = Missing.together(
        [Missing([RELU], cold=[SMALL]), Missing([RELU, SMALL], facts=["a"]), Missing(facts=["a"])]
    )
    assert together.kernels == (RELU, SMALL)
    assert (together.cold, together.facts) == ((SMALL,), ("a",))
