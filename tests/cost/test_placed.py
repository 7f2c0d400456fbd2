"""Costs of several devices: names of their own, and what lacks on which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from adapt.cost import Amount, Chain, Cost, MacCount, Missing, Origin
from adapt.cost.placed import Placed
from adapt.cost.pricer import Pricer
from adapt.errors import UsageError
from adapt.network.load import Network
from lookup_tables.kernel import Kernel


class Steady:
    """Takes `each_us` for every kernel, once they are known; has an opinion about MACs as well."""

    resources: frozenset[str] = frozenset({"latency", "macs"})

    def __init__(self, each_us: float, *, known: bool = True) -> None:
        self.each_us, self.known = each_us, known

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        total = self.each_us * len(kernels)
        if not self.known:
            raise Missing(kernels[:1])
        amounts = {name: Amount.of(Origin.MEASURED, total) for name in self.resources}
        return Cost(amounts)

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        return [self.price([kernel]) for kernel in kernels]


class Wholes:
    """Knows one latency of every network, or none."""

    def __init__(self, latency_us: float | None, *, relative: bool) -> None:
        self.relative, self._latency_us = relative, latency_us

    def latency(self, widths: Mapping[str, int]) -> tuple[float, float] | None:
        return None if self._latency_us is None else (self._latency_us, 10.0)


@pytest.fixture
def kernels(digits_network: Network) -> Sequence[Kernel]:
    return digits_network.kernels({})


def test_names_are_the_devices(kernels: Sequence[Kernel]) -> None:
    placed = Placed(Steady(2.0), "pi")
    assert placed.resources == {"latency@pi"}
    cost = placed.price(kernels)
    assert cost.values_by_resource == {"latency@pi": 2.0 * len(kernels)}
    assert [each["latency@pi"].value for each in placed.price_each(kernels)] == [2.0] * len(kernels)
    assert Placed(MacCount(), "pi").resources == frozenset()


def test_devices_stand_side_by_side(kernels: Sequence[Kernel]) -> None:
    models = [Placed(Steady(2.0), "pi"), Placed(Steady(3.0), "fast"), MacCount()]
    cost = Chain(models, ["latency@pi", "latency@fast", "macs"]).price(kernels)
    assert list(cost) == ["latency@fast", "latency@pi", "macs"]
    assert cost["latency@fast"].value == 1.5 * cost["latency@pi"].value
    assert str(cost).startswith("latency@fast ")
    with pytest.raises(ValueError, match="not resources: beauty@pi"):
        Cost({"beauty@pi": Amount.of(Origin.EXACT, 1.0)})


def test_a_resource_that_one_device_cannot_tell() -> None:
    with pytest.raises(UsageError, match="no energy source for pi"):
        Chain([Placed(Steady(2.0), "pi")], ["energy@pi"])


def test_what_lacks_is_told_by_device(kernels: Sequence[Kernel]) -> None:
    models = [Placed(Steady(1.0, known=False), name) for name in ("pi", "fast")]
    chain = Chain([*models, Steady(1.0)], ["latency@pi", "latency@fast", "macs"])
    with pytest.raises(Missing) as caught:
        chain.price(kernels)
    lack = caught.value
    assert lack
    assert not lack.kernels
    assert {device: each.kernels for device, each in lack.on.items()} == {
        "pi": (kernels[0],),
        "fast": (kernels[0],),
    }
    assert "on pi: 1 kernels are not in the table" in str(lack)


def test_lacks_of_one_device_come_together(kernels: Sequence[Kernel]) -> None:
    first, second = kernels[0], kernels[-1]
    lacks = [
        Missing(on={"pi": Missing([first])}),
        Missing(on={"pi": Missing([first, second]), "fast": Missing(facts=["l2_bytes"])}),
    ]
    together = Missing.together(lacks)
    assert together.on["pi"].kernels == (first, second)
    assert together.on["fast"].facts == ("l2_bytes",)
    assert together.values == Missing.together(lacks).values
    assert together.values != Missing.together(lacks[:1]).values
    assert not Missing(on={"pi": Missing()})


def test_whole_networks_of_each_device(digits_network: Network) -> None:
    """A share of the original on one, an amount on the other; nothing is mixed up."""
    models = [Placed(Steady(2.0), "pi"), Placed(Steady(3.0), "fast")]
    names = ["latency@pi", "latency@fast"]
    wholes = {"latency@pi": Wholes(5.0, relative=True), "latency@fast": Wholes(7.0, relative=False)}
    pricer = Pricer(digits_network, models, names, wholes)
    assert pricer.measurable == set(names)
    whole = pricer.price({})["latency@pi"].value
    measured = pricer.measured({}).values_by_resource
    assert measured == pytest.approx({"latency@pi": whole / 2, "latency@fast": 7.0})


def test_whole_networks_lack_on_the_device_that_has_not_timed_them(digits_network: Network) -> None:
    models = [Placed(Steady(2.0), "pi"), Placed(Steady(3.0), "fast")]
    wholes = {"latency@pi": Wholes(5.0, relative=True), "latency@fast": Wholes(None, relative=True)}
    pricer = Pricer(digits_network, models, list(wholes), wholes)
    narrow = dict.fromkeys(digits_network.widths, 4)
    with pytest.raises(Missing) as caught:
        pricer.measured(narrow)
    assert caught.value.on.keys() == {"fast"}
    assert caught.value.on["fast"].wholes == (dict(sorted(narrow.items())),)
