"""Which filters stay."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.network import shrink
from adapt.network.elastic import ElasticNetwork
from adapt.network.groups import ChannelGroups, Group
from adapt.network.load import Network
from adapt.training.activations import Activations
from adapt.training.data import Data
from adapt.training.finetune import Trainer
from adapt.training.importance import Importance, Rule, magnitudes, strongest
from adapt.training.importance.gradients import Gradients
from adapt.training.importance.kernels import distances


def norm_by_hand(network: Network, keep: dict[str, list[int]], group: Group, place: int) -> float:
    """Norm of the filter that stands at `place` among those that `group` keeps."""
    weights = shrink.slice_weights(network.weights, network.groups, keep)
    model = network.shrunk(keep, weights)
    total = 0.0
    for name in group.layers:
        kernel = model.get_layer(name).get_weights()[0]
        for value in kernel[..., place].flatten().tolist():
            total += value * value
    return math.sqrt(total)


def test_magnitudes_of_the_whole_network(digits_network: Network) -> None:
    groups = digits_network.groups
    found = magnitudes(digits_network.weights, groups, {})
    assert max(len(group.layers) for group in groups.groups) == 3  # A residual group is among them.
    for group in groups.groups:
        for position in (0, 5, group.width - 1):
            expected = norm_by_hand(digits_network, {}, group, position)
            assert found[group.filters[position]] == pytest.approx(expected, rel=1e-6)


def test_magnitudes_after_shrinking(digits_network: Network) -> None:
    random, groups = np.random.default_rng(1), digits_network.groups
    keep = {
        g.name: sorted(random.choice(g.width, g.width // 3, replace=False).tolist())
        for g in groups.groups
    }
    weights = shrink.slice_weights(digits_network.weights, groups, keep)
    found = magnitudes(weights, groups, keep)
    for group in groups.groups:
        kept = keep[group.name]
        for place in (0, len(kept) - 1):
            expected = norm_by_hand(digits_network, keep, group, place)
            assert found[group.filters[kept[place]]] == pytest.approx(expected, rel=1e-6)
        removed = np.setdiff1d(np.arange(group.width), kept)
        assert (found[group.filters[removed]] == 0).all()


def pick(network: Network, values: list[float], kept: list[int], width: int) -> list[int]:
    """The strongest of a group whose first filters have the importance `values`."""
    groups: ChannelGroups = network.groups
    group = groups.groups[1]
    importance = np.full(len(groups.frozen), 100.0)  # Other groups matter more, and not here.
    importance[group.filters] = -1.0
    importance[group.filters[: len(values)]] = values
    return strongest(importance, {group.name: kept}, group.name, width, groups)


@pytest.mark.parametrize(
    ("values", "kept", "width", "expected"),
    [
        ([1.0, 3.0, 2.0], [0, 1, 2], 2, [1, 2]),
        ([1.0, 3.0, 2.0], [0, 1, 2], 3, [0, 1, 2]),
        ([9.0, 3.0, 2.0, 5.0], [1, 2, 3], 2, [1, 3]),
        ([1.0, 1.0, 1.0, 1.0], [0, 1, 2, 3], 2, [0, 1]),
        ([1.0, 2.0, 1.0, 1.0], [0, 1, 2, 3], 3, [0, 1, 2]),
        ([0.0, 0.0, 2.0], [0, 2], 1, [2]),
    ],
)
def test_the_strongest(
    digits_network: Network,
    values: list[float],
    kept: list[int],
    width: int,
    expected: list[int],
) -> None:
    assert pick(digits_network, values, kept, width) == expected


@given(data=st.data())
def test_none_that_goes_is_stronger_than_one_that_stays(
    digits_network: Network, data: st.DataObject
) -> None:
    values = data.draw(st.lists(st.sampled_from([0.0, 0.5, 1.0, 2.0]), min_size=2, max_size=20))
    kept = sorted(data.draw(st.sets(st.integers(0, len(values) - 1), min_size=1)))
    width = data.draw(st.integers(1, len(kept)))
    chosen = pick(digits_network, values, kept, width)
    assert len(chosen) == width
    assert chosen == sorted(chosen)
    gone = [p for p in kept if p not in chosen]
    assert set(chosen) <= set(kept)
    assert all((values[g], -g) < (values[c], -c) for g in gone for c in chosen)


# --- the other rules ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def importance(digits_network: Network, digits_data: Data) -> Importance:
    elastic = ElasticNetwork(digits_network.model, digits_network.groups)
    activations = Activations(elastic, digits_network.groups, digits_data)
    return Importance(elastic, digits_network.groups, digits_data, activations)


@pytest.mark.parametrize("rule", list(Rule))
def test_every_rule_knows_every_filter_that_is_there(
    digits_network: Network, importance: Importance, rule: Rule
) -> None:
    groups = digits_network.groups
    keep = {g.name: list(range(0, g.width, 2)) for g in groups.groups}
    weights = shrink.slice_weights(digits_network.weights, groups, keep)
    found = importance.of(weights, keep, rule)
    for group in groups.groups:
        there = np.isin(np.arange(group.width), keep[group.name])
        assert (found[group.filters[there]] > 0).mean() > 0.5  # Some are dead behind their ReLU.
        assert (found[group.filters[~there]] == 0).all()
    assert np.isfinite(found).all()
    # The same again, and from nothing.
    assert importance.of(weights, keep, rule) is found
    importance.of(digits_network.weights, {}, rule)
    np.testing.assert_array_equal(importance.of(weights, keep, rule), found)


def test_distances_are_those_of_the_filters(digits_network: Network) -> None:
    groups = digits_network.groups
    found = distances(digits_network.weights, groups, {})
    group = max(groups.groups, key=lambda g: len(g.layers))
    rows = np.concatenate(
        [
            np.moveaxis(digits_network.weights[name, 0], -1, 0).reshape(group.width, -1)
            for name in group.layers
        ],
        axis=1,
    ).astype(np.float64)
    for position in (0, 3, group.width - 1):
        expected = np.linalg.norm(rows - rows[position], axis=1).sum()
        assert found[group.filters[position]] == pytest.approx(expected, rel=1e-6)


def test_the_gradient_tells_what_closing_a_filter_does(
    digits_network: Network, digits_data: Data
) -> None:
    """Of one batch, the square of what the loss changes by when scale and shift shrink a little."""
    few = replace(digits_data, train=digits_data.train.take(np.arange(32)))
    elastic = ElasticNetwork(digits_network.model, digits_network.groups)
    found = Gradients(elastic, digits_network.groups, few).taylor(digits_network.weights, {})
    group = digits_network.groups.groups[digits_network.groups.index["conv2d_1"]]
    assert len(group.layers) == 1
    trainer = Trainer(elastic, few, batch=32)
    places = [("batch_normalization_1", 0), ("batch_normalization_1", 1)]
    for position in (0, 5):
        losses = []
        for factor in (0.99, 1.01):
            weights = {p: v.copy() for p, v in digits_network.weights.items()}
            for place in places:
                weights[place][position] *= factor
            losses.append(trainer.score(weights, few.train).loss)
        change = (losses[1] - losses[0]) / 0.02
        assert found[group.filters[position]] == pytest.approx(change**2, rel=0.1, abs=1e-9)
