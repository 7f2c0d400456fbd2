"""Widths in, cost out, of the bundled network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from adapt.budget import RESOURCES
from adapt.cost import Amount, Cost, MacCount, Missing, Origin
from adapt.cost.pricer import Pricer
from adapt.errors import UsageError
from adapt.network.load import Network
from adapt.network.shrink import slice_weights
from lookup_tables.kernel import Kernel


class Unmeasured:
    """A device of which nothing is known."""

    resources: frozenset[str] = frozenset({"latency"})

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        raise Missing(kernels)

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        raise Missing(kernels)


class OneEach:
    """A device that takes a microsecond for each kernel."""

    resources: frozenset[str] = frozenset({"latency"})

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        return Cost({"latency": Amount.of(Origin.MEASURED, float(len(kernels)))})

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        return [self.price([kernel]) for kernel in kernels]


@pytest.fixture
def halved(digits_network: Network) -> dict[str, int]:
    return {name: width // 2 for name, width in digits_network.widths.items()}


def test_what_was_asked_for_and_nothing_else(digits_network: Network) -> None:
    models = (OneEach(), MacCount())
    everything = ["memory", "latency", "size", "macs", "params"]
    cost = Pricer(digits_network, models, everything).price({})
    assert list(cost) == [name for name in RESOURCES if name in everything]
    for name in everything:
        assert Pricer(digits_network, models, [name]).price({}) == {name: cost[name]}
    assert Pricer(digits_network, models, []).price({}) == {}


def test_counts_are_those_of_the_network_itself(
    digits_network: Network, halved: dict[str, int]
) -> None:
    pricer = Pricer(digits_network, [], ["params", "size"])
    for widths in ({}, halved):
        keep = {name: range(widths.get(name, w)) for name, w in digits_network.widths.items()}
        weights = slice_weights(digits_network.weights, digits_network.groups, keep)
        model = digits_network.shrunk(keep, weights)
        cost = pricer.price(widths)
        assert cost["params"].by_origin == {Origin.EXACT: model.count_params()}
        # Offsets in the file take a few bytes more or less.
        content = digits_network.to_tflite(model)
        assert cost["size"].value == pytest.approx(len(content), rel=0.01)


def test_prices_are_those_of_the_kernels(digits_network: Network, halved: dict[str, int]) -> None:
    pricer = Pricer(digits_network, [OneEach(), MacCount()], ["latency", "macs"])
    kernels = digits_network.kernels(halved)
    cost = pricer.price(halved)
    assert cost["latency"].value == len(kernels)
    assert cost["macs"] == MacCount().price(kernels)["macs"]
    assert cost["macs"].value < pricer.price({})["macs"].value


def test_a_counted_resource_needs_no_table(digits_network: Network) -> None:
    assert Pricer(digits_network, [Unmeasured()], ["params", "memory"]).price({})
    assert Pricer(digits_network, [Unmeasured(), MacCount()], ["macs"]).price({})


def test_what_is_missing_is_named(digits_network: Network, halved: dict[str, int]) -> None:
    pricer = Pricer(digits_network, [Unmeasured(), MacCount()], ["latency", "macs", "params"])
    with pytest.raises(Missing) as caught:
        pricer.price(halved)
    assert set(caught.value.kernels) == set(digits_network.kernels(halved))


@pytest.mark.parametrize("resources", [["energy"], ["params", "latency"], ["macs", "joy"]])
def test_resources_that_nobody_knows(digits_network: Network, resources: list[str]) -> None:
    with pytest.raises(UsageError, match=f"no {resources[-1]} source"):
        Pricer(digits_network, [MacCount()], resources)


class Whole:
    """Whole networks of a device: 3 us, and 5 us the original beside them."""

    def __init__(self, *, relative: bool) -> None:
        self.relative = relative
        self.known: list[dict[str, int]] = []

    def latency(self, widths: Mapping[str, int]) -> tuple[float, float] | None:
        return (3.0, 5.0) if dict(widths) in self.known else None


def test_whole_networks(digits_network: Network, halved: dict[str, int]) -> None:
    """Their latency as it is, or as that share of what the original is priced at."""
    for relative in (False, True):
        whole = Whole(relative=relative)
        pricer = Pricer(
            digits_network, (OneEach(), MacCount()), ["latency", "macs"], {"latency": whole}
        )
        assert pricer.measurable == {"latency"}
        with pytest.raises(Missing) as caught:
            pricer.measured(halved)
        assert caught.value.wholes == (dict(sorted(halved.items())),)
        assert "1 networks have not been timed as a whole" in str(caught.value)
        whole.known.append(halved)
        measured, price = pricer.measured(halved), pricer.price(halved)
        assert measured["macs"] == price["macs"]
        expected = 0.6 * price["latency"].value if relative else 3.0
        assert measured["latency"].value == pytest.approx(expected)
        assert set(measured["latency"].by_origin) == {Origin.MEASURED}


def test_nothing_to_measure(digits_network: Network, halved: dict[str, int]) -> None:
    models = (OneEach(), MacCount())
    for pricer in (
        Pricer(digits_network, models, ["latency"]),
        Pricer(digits_network, models, ["macs", "size"], {"latency": Whole(relative=True)}),
        Pricer(digits_network, [], ["size"], {"latency": Whole(relative=True)}),
    ):
        assert pricer.measurable == frozenset()
        assert pricer.measured(halved) == pricer.price(halved)
