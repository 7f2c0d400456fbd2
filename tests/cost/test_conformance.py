"""What holds for every cost model."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import pytest

from adapt.budget import RESOURCES
from adapt.cost import (
    Chain,
    Cost,
    CostModel,
    EyerissCost,
    MacCount,
    Missing,
    TableEnergy,
    TableLatency,
)
from adapt.cost.offline import from_table
from lookup_tables import Kernel, Platform, Store


def energy(store: Store, platform: Platform) -> TableEnergy:
    return TableEnergy(store, TableLatency(store, platform), "rapl")


MODELS: Mapping[str, Callable[[Store, Platform], CostModel]] = {
    "table": TableLatency,
    "energy": energy,
    "macs": lambda store, platform: MacCount(),
    "offline": lambda store, platform: TableLatency(store, platform, offline=True),
    "offline energy": lambda store, platform: TableEnergy(
        store, TableLatency(store, platform, offline=True), "rapl", offline=True
    ),
    "chain offline": lambda store, platform: Chain(
        from_table(store, platform).models, ["latency", "energy", "macs"]
    ),
    "eyeriss": lambda store, platform: EyerissCost(),
    "chain": lambda store, platform: Chain(
        [TableLatency(store, platform), MacCount()], ["macs", "latency"]
    ),
    "chain of chains": lambda store, platform: Chain(
        [Chain([MacCount()], ["macs"]), TableLatency(store, platform)], ["latency", "macs"]
    ),
    "chain of all": lambda store, platform: Chain(
        [
            MacCount(),
            energy(store, platform),
            TableLatency(store, platform),
        ],
        ["latency", "macs", "energy"],
    ),
}


@pytest.fixture(params=list(MODELS.values()), ids=list(MODELS))
def model(
    request: pytest.FixtureRequest,
    store: Store,
    platform: Platform,
    known: list[Kernel],
    meter: Callable[..., None],
) -> CostModel:
    meter(store, known[::5])
    made: CostModel = request.param(store, platform)
    return made


@pytest.fixture
def answers_all(request: pytest.FixtureRequest) -> bool:
    """Whether the model answers whatever is not in the table."""
    return request.node.callspec.id in ("macs", "eyeriss", *(m for m in MODELS if "offline" in m))


def values(cost: Cost) -> dict[str, float]:
    return cost.values_by_resource


def test_prices_the_resources_that_it_offers(model: CostModel, known: list[Kernel]) -> None:
    assert model.resources
    assert model.resources <= set(RESOURCES)
    assert set(model.price(known)) == model.resources
    assert all(set(each) == model.resources for each in model.price_each(known))


def test_amounts_are_finite_and_split_by_origin(model: CostModel, known: list[Kernel]) -> None:
    for cost in (model.price(known), *model.price_each(known)):
        for amount in cost.values():
            assert math.isfinite(amount.value)
            assert amount.value >= 0
            assert amount.by_origin
            assert amount.value == math.fsum(amount.by_origin.values())


def test_order_does_not_matter(model: CostModel, known: list[Kernel]) -> None:
    assert values(model.price(known)) == values(model.price(known[::-1]))


def test_same_question_same_answer(model: CostModel, known: list[Kernel]) -> None:
    assert values(model.price(known)) == values(model.price(tuple(known)))


def test_a_network_is_the_sum_of_its_kernels_and_a_constant(
    model: CostModel, known: list[Kernel]
) -> None:
    networks = [known, known[:1], known[3:9] * 2]
    constants = []
    for network in networks:
        parts = model.price_each(network)
        whole = values(model.price(network))
        constants.append(
            {name: whole[name] - math.fsum(values(p)[name] for p in parts) for name in whole}
        )
    for constant in constants:
        assert constant == pytest.approx(constants[0])
        assert all(value >= 0 for value in constant.values())


def test_every_repeat_counts(model: CostModel, known: list[Kernel]) -> None:
    once, twice, thrice = (values(model.price(known[4:5] * n)) for n in (1, 2, 3))
    for name in once:
        assert thrice[name] - twice[name] == pytest.approx(twice[name] - once[name])
        assert twice[name] > once[name]


def lack(question: Callable[[Sequence[Kernel]], object], network: list[Kernel]) -> list[Kernel]:
    try:
        question(network)
    except Missing as missing:
        return list(missing.kernels)
    return []


def test_lacking_kernels_are_named_once_in_order(
    model: CostModel, answers_all: bool, known: list[Kernel], unknown: list[Kernel]
) -> None:
    network = [unknown[1], known[0], unknown[0], unknown[1], known[1]]
    expected = [] if answers_all else [unknown[1], unknown[0]]
    assert lack(model.price, network) == expected
    assert lack(model.price_each, network) == expected
    assert lack(model.price, known) == []
