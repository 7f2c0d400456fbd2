"""Energy from a table: what ran under the meter, and what that says of the rest."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from adapt.cost import Chain, Cost, MacCount, Missing, Origin, TableEnergy, TableLatency
from adapt.cost.cold import CACHE_FACT, MEMORY_FACTS
from adapt.cost.fusion import PAIR_FACTS, Fusion
from adapt.tflite.pairs import pairs_of
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
from lookup_tables.power import SAMPLES

Meter = Callable[..., None]
WATTS, NULL_US = 4.0, 0.5


def lack(model: TableEnergy | Chain, kernels: list[Kernel]) -> Missing:
    with pytest.raises(Missing) as caught:
        model.price(kernels)
    return caught.value


def priced(store: Store, platform: Platform, meter: str = "rapl") -> TableEnergy:
    return TableEnergy(store, TableLatency(store, platform), meter)


def parts(cost: Cost) -> dict[Origin, float]:
    return dict(cost["energy"].by_origin)


def test_a_few_samples_of_a_kind_are_asked_for(
    store: Store, platform: Platform, known: list[Kernel]
) -> None:
    missing = lack(priced(store, platform), [*known, *known])
    assert missing.energy == tuple(known[i] for i in (19, 13, 7, 0))
    assert (missing.kernels, missing.cold, missing.facts) == ((), (), ())
    assert "4 kernels have no energy in the table" in str(missing)


def test_samples_that_are_there_count(
    store: Store, platform: Platform, known: list[Kernel], meter: Meter
) -> None:
    meter(store, known[:3])
    assert lack(priced(store, platform), known[3:]).energy == (known[19],)


def test_what_ran_under_the_meter_is_measured_and_the_rest_has_the_power_of_its_kind(
    store: Store, platform: Platform, known: list[Kernel], meter: Meter
) -> None:
    meter(store, known[::5])
    model = priced(store, platform)
    assert parts(model.price(known)) == {
        Origin.MEASURED: pytest.approx(WATTS * (1 + 6 + 11 + 16) + WATTS * NULL_US),
        Origin.INTERPOLATED: pytest.approx(WATTS * (sum(range(1, 21)) - 34)),
    }
    first, second = model.price_each(known[:2])
    assert parts(first) == {Origin.MEASURED: pytest.approx(WATTS * 1)}
    assert parts(second) == {Origin.INTERPOLATED: pytest.approx(WATTS * 2)}


def test_the_stated_error_is_that_of_the_samples(
    store: Store, platform: Platform, known: list[Kernel], meter: Meter
) -> None:
    meter(store, known[:2], watts=4.0)
    meter(store, known[2:4], watts=6.0)
    powers = priced(store, platform).powers({known[0]: 1.0, known[9]: 10.0})
    measured, estimated = powers[known[0]], powers[known[9]]
    assert (measured.origin, estimated.origin) == (Origin.MEASURED, Origin.INTERPOLATED)
    assert measured.relative_error < 0.02
    assert estimated.watts == pytest.approx((4 * 3 + 6 * 7) / 10)
    assert 0.1 < estimated.relative_error < 0.2


def test_kernels_whose_time_is_unknown_are_timed_first(
    store: Store, platform: Platform, known: list[Kernel], unknown: list[Kernel]
) -> None:
    missing = lack(priced(store, platform), [*known, *unknown])
    assert (missing.kernels, missing.energy) == (tuple(unknown), ())


def test_a_kind_with_samples_asks_for_no_more(
    store: Store, platform: Platform, known: list[Kernel], unknown: list[Kernel], meter: Meter
) -> None:
    meter(store, known[:SAMPLES])
    timed = tuple(KernelResult(k, (), Accepted(100.5, 0.0, 2), nodes=1) for k in unknown)
    null = NullResult((), Accepted(NULL_US, 0.0, 2))
    store.record_batch(platform, BatchRecord(1.0, null=null, kernels=timed))
    cost = priced(store, platform).price(unknown)
    assert parts(cost)[Origin.INTERPOLATED] == pytest.approx(len(unknown) * 100 * WATTS)


def test_what_the_runtime_leaves_out_takes_nothing_and_is_not_asked_for(
    store: Store, platform: Platform, record_us: Callable[..., None], meter: Meter
) -> None:
    x = Tensor("int8", (1, 4, 4, 8))
    logistic, relu = (Kernel.make(op, [x], [x]) for op in ("LOGISTIC", "RELU"))
    record_us(store, platform, {logistic: 4.0, relu: 2.0})
    (pair,) = pairs_of([logistic, relu])
    assert pair is not None
    store.record_fact(platform, PAIR_FACTS + pair.kind, Fusion.SECOND_FREE, {})
    assert lack(priced(store, platform), [logistic, relu]).energy == (logistic,)
    meter(store, [logistic])
    first, second = priced(store, platform).price_each([logistic, relu])
    assert first["energy"].value == pytest.approx(4.0 * WATTS)
    assert second["energy"].value == 0


def test_cold_weights_take_energy_for_as_long_as_they_take_time(
    store: Store, platform: Platform, record_us: Callable[..., None], meter: Meter
) -> None:
    # 512 KiB of weights each, 1 MiB of cache.
    layers = [
        Kernel.make(
            "FULLY_CONNECTED",
            [Tensor("float32", (1, n)), Tensor("float32", (1 << 17 - i, n), True), None],
            [Tensor("float32", (1, 1 << 17 - i))],
        )
        for i, n in ((10, 1024), (11, 2048), (12, 4096))
    ]
    facts = {CACHE_FACT: 1 << 20, **dict.fromkeys(MEMORY_FACTS, 1 << 25)}
    for name, value in facts.items():
        store.record_fact(platform, name, value, {})
    record_us(store, platform, dict.fromkeys(layers, 10.0))
    meter(store, layers)
    cold = tuple(ColdResult(layer, 9, (), Accepted(16.0, 0.0, 2)) for layer in layers)
    store.record_batch(platform, BatchRecord(1.0, cold=cold))
    assert [cost["energy"].value for cost in priced(store, platform).price_each(layers)] == [
        pytest.approx(WATTS * 16.0, rel=0.01)
    ] * 3
    (alone,) = priced(store, platform).price_each(layers[:1])
    assert alone["energy"].value == pytest.approx(WATTS * 10.0)


def test_another_meter_knows_nothing_of_it(
    store: Store, platform: Platform, known: list[Kernel], meter: Meter
) -> None:
    meter(store, known[::5])
    assert len(lack(priced(store, platform, "battery"), known).energy) == SAMPLES


def test_prices_do_not_move_while_a_model_lives(
    store: Store, platform: Platform, known: list[Kernel], meter: Meter
) -> None:
    meter(store, known[::5])
    model = priced(store, platform)
    before = parts(model.price(known))
    meter(store, known, watts=9.0)
    assert parts(model.price(known)) == before
    after = parts(priced(store, platform).price(known))
    assert after == {Origin.MEASURED: pytest.approx(9.0 * (sum(range(1, 21)) + NULL_US))}


def test_a_chain_gathers_what_both_tables_lack(
    store: Store, platform: Platform, known: list[Kernel], meter: Meter
) -> None:
    models = [
        TableLatency(store, platform),
        priced(store, platform),
        MacCount(),
    ]
    chain = Chain(models, ["energy", "latency"])
    assert len(lack(chain, known).energy) == SAMPLES
    meter(store, known[::5])
    assert set(chain.price(known)) == {"energy", "latency"}
