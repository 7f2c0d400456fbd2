"""Filters that stay stand in for those that go: exactly, where they can."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from adapt.network import shrink
from adapt.network.elastic import ElasticNetwork
from adapt.network.groups import ChannelGroups, find_groups
from adapt.network.shrink import Weights
from adapt.training import activations
from adapt.training.activations import Activations, Moments
from adapt.training.compensation import compensated
from adapt.training.data import Data, Split
from adapt.training.importance import elimination
from adapt.training.importance.elimination import output_errors

CLASSES = 3


def data() -> Data:
    random = np.random.default_rng(1)
    parts = [
        Split(random.normal(size=(n, 6, 6, 2)).astype(np.float32), np.arange(n, dtype=np.int32) % 3)
        for n in (600, 40, 40)
    ]
    return Data(parts[0], parts[1], parts[2], ("a", "b", "c"), 1.0, 0.0, "")


def plain() -> keras.Model:
    """Convolutions with biases, read by another convolution and, flattened, by a dense layer."""
    x = image = keras.Input((6, 6, 2))
    x = layers.Conv2D(6, 3, padding="valid", activation="relu", name="first")(x)
    x = layers.Conv2D(5, 1, activation="relu", name="second")(x)
    x = layers.Flatten()(x)
    return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="last")(x))


def dependent(weights: Weights, model: keras.Model) -> Weights:
    """`weights` with filter 4 of the first layer like filter 1, and filter 5 constant."""
    changed = {place: value.copy() for place, value in weights.items()}
    kernel, bias = changed["first", 0], changed["first", 1]
    kernel[..., 4], bias[4] = 2.0 * kernel[..., 1], 2.0 * bias[1]
    kernel[..., 5], bias[5] = 0.0, 0.7
    return changed


class Case:
    """A network with weights, looked at."""

    def __init__(
        self, made: Callable[[], keras.Model], change: Callable[..., Weights] | None = None
    ) -> None:
        keras.utils.set_random_seed(3)  # Before any weight is drawn.
        self.model, self.data = made(), data()
        model = self.model
        self.groups: ChannelGroups = find_groups(model)
        weights = shrink.read_weights(model)
        self.weights = change(weights, model) if change else weights
        shrink.write_weights(model, self.weights)
        self.activations = Activations(ElasticNetwork(model, self.groups), self.groups, self.data)
        self.full = {group.name: list(range(group.width)) for group in self.groups.groups}

    def outputs(self, keep: dict[str, list[int]], *, standing_in: bool) -> np.ndarray:
        """Those of the network with the filters `keep`, for the test examples."""
        keep, weights = {**self.full, **keep}, self.weights
        if standing_in:
            readers, moments = self.activations.readers, self.activations.of(weights)
            weights = compensated(weights, self.groups, readers, moments, keep, self.full)
        cut = shrink.slice_weights(weights, self.groups, keep)
        widths = {name: len(positions) for name, positions in keep.items()}
        network = shrink.build(self.model, self.groups, widths)
        shrink.write_weights(network, cut)
        outputs: np.ndarray = np.asarray(network(self.data.test.inputs))
        return outputs


@pytest.fixture(scope="module")
def case() -> Case:
    return Case(plain, dependent)


def test_moments_are_those_of_what_is_read(case: Case) -> None:
    by_kernel = dict(
        zip(
            (reader.kernel for reader in case.activations.readers),
            case.activations.of(case.weights),
            strict=True,
        )
    )
    assert set(by_kernel) == {("first", 0), ("second", 0), ("last", 0)}
    inner = keras.Model(case.model.input, case.model.get_layer("first").output)
    read = np.asarray(inner(case.data.train.evenly(512).inputs)).reshape(-1, 6)
    moments = by_kernel["second", 0]
    np.testing.assert_allclose(moments.mean, read.mean(axis=0), rtol=1e-4, atol=1e-5)
    expected = np.cov(read, rowvar=False, bias=True)
    np.testing.assert_allclose(moments.covariance, expected, rtol=1e-3, atol=1e-4)
    assert case.activations.traces == {"activations": 1}


def shared() -> keras.Model:
    """A convolution that reads two tensors of one group, in two calls."""
    image = keras.Input((6, 6, 2))
    first = layers.Conv2D(6, 3, padding="same", activation="relu", name="first")(image)
    strided = layers.MaxPooling2D(2, name="pooled")(first)
    reader = layers.Conv2D(5, 1, name="reader")
    pooled = [layers.GlobalAveragePooling2D()(reader(each)) for each in (first, strided)]
    return keras.Model(image, layers.Dense(CLASSES, name="last")(layers.Add()(pooled)))


def test_moments_of_a_shared_layer_are_those_of_all_its_calls() -> None:
    case = Case(shared)
    by_kernel = dict(
        zip(
            (reader.kernel for reader in case.activations.readers),
            case.activations.of(case.weights),
            strict=True,
        )
    )
    tensors = [case.model.get_layer(name).output for name in ("first", "pooled")]
    reads = keras.Model(case.model.input, tensors)(case.data.train.evenly(512).inputs)
    rows = np.concatenate([np.asarray(read).reshape(-1, 6) for read in reads])
    moments = by_kernel["reader", 0]
    np.testing.assert_allclose(moments.mean, rows.mean(axis=0), rtol=1e-4, atol=1e-5)
    expected = np.cov(rows, rowvar=False, bias=True)
    np.testing.assert_allclose(moments.covariance, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("most", [2048, 0])
def test_moments_of_what_varies_little_around_a_large_mean(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def shifted(weights: Weights, model: keras.Model) -> Weights:
        return {**weights, ("first", 1): np.full_like(weights["first", 1], 1000.0)}

    monkeypatch.setattr(activations, "MOST_CHANNELS", most)
    case = Case(plain, shifted)
    place = [reader.kernel for reader in case.activations.readers].index(("second", 0))
    moments = case.activations.of(case.weights)[place]
    inner = keras.Model(case.model.input, case.model.get_layer("first").output)
    read = np.asarray(inner(case.data.train.evenly(512).inputs), float).reshape(-1, 6)
    expected = np.cov(read, rowvar=False, bias=True)
    np.testing.assert_allclose(moments.mean, read.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(moments.variance, np.diag(expected), rtol=1e-3)
    if most:
        assert moments.covariance is not None
        np.testing.assert_allclose(moments.covariance, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("gone", [[4], [1], [5], [4, 5], [1, 5]])
def test_what_others_show_is_not_missed(case: Case, gone: list[int]) -> None:
    keep = {"first": [position for position in range(6) if position not in gone]}
    before = case.outputs({}, standing_in=True)
    after = case.outputs(keep, standing_in=True)
    np.testing.assert_allclose(after, before, atol=0.01)
    assert abs(case.outputs(keep, standing_in=False) - before).max() > 0.02


def test_what_only_it_shows_is_missed_less(case: Case) -> None:
    before = case.outputs({}, standing_in=False)
    for gone in ({"first": [0, 1, 2, 4, 5]}, {"second": [0, 1, 3, 4]}):
        far = abs(case.outputs(gone, standing_in=False) - before).mean()
        assert abs(case.outputs(gone, standing_in=True) - before).mean() < far


def test_of_two_alike_one_is_important(case: Case) -> None:
    readers, moments = case.activations.readers, case.activations.of(case.weights)
    errors = output_errors(case.weights, case.groups, readers, moments, case.full)
    first = errors[case.groups.groups[case.groups.index["first"]].filters]
    assert first[5] < 1e-3  # Constant: the biases make up for it.
    assert min(first[1], first[4]) < 1e-3 < max(first[1], first[4])
    assert (first[[0, 2, 3]] > 10 * first[5]).all()
    assert (errors >= 0).all()


def test_shares_of_a_network_that_was_cut(case: Case) -> None:
    """Filters that went count as nothing, and the rest as in a network of their own."""
    keep: dict[str, Any] = {**case.full, "first": [0, 2, 3, 4]}
    weights = shrink.slice_weights(case.weights, case.groups, keep)
    readers, moments = case.activations.readers, case.activations.of(weights)
    errors = output_errors(weights, case.groups, readers, moments, keep)
    first = errors[case.groups.groups[case.groups.index["first"]].filters]
    assert first[[1, 5]].tolist() == [0.0, 0.0]
    assert (first[[0, 2, 3, 4]] > 0).all()


# --- kernels that read very many channels --------------------------------------------------------


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> Case:
    """The last layer reads 80 channels, and that is too many."""
    monkeypatch.setattr(activations, "MOST_CHANNELS", 79)
    return Case(plain, dependent)


def last_of(case: Case, weights: Weights) -> Moments:
    """Moments of what the last layer reads."""
    (place,) = [
        place
        for place, reader in enumerate(case.activations.readers)
        if reader.kernel == ("last", 0)
    ]
    return case.activations.of(weights)[place]


def test_a_wide_reader_has_variances_alone(wide: Case, case: Case) -> None:
    assert [reader.wide for reader in wide.activations.readers].count(True) == 1
    moments, full = last_of(wide, wide.weights), last_of(case, case.weights)
    assert moments.covariance is None
    assert full.covariance is not None
    np.testing.assert_allclose(moments.mean, full.mean, rtol=1e-6)
    np.testing.assert_allclose(moments.variance, np.diag(full.covariance), rtol=1e-3, atol=1e-5)


def test_a_wide_reader_stays_wide_when_cut(wide: Case) -> None:
    """One graph serves all widths."""
    weights = shrink.slice_weights(wide.weights, wide.groups, {"second": [0, 1, 2]})
    moments = last_of(wide, weights)
    assert moments.covariance is None
    assert moments.variance.shape == (48,)
    wide.activations.of(wide.weights)
    assert wide.activations.traces == {"activations": 1}


def test_nothing_stands_in_where_a_reader_is_wide(wide: Case) -> None:
    """The errors of `second`, which only `last` reads, by hand; the kernel stays as it is."""
    readers, found = wide.activations.readers, wide.activations.of(wide.weights)
    errors = output_errors(wide.weights, wide.groups, readers, found, wide.full)
    variance = last_of(wide, wide.weights).variance
    squares = np.square(wide.weights["last", 0].astype(float)).sum(axis=1)
    ridge = 1e-3 * variance.mean()
    expected = ((variance + ridge) * squares).reshape(16, 5).sum(axis=0)
    expected /= (variance * squares).sum()
    second = errors[wide.groups.groups[wide.groups.index["second"]].filters]
    np.testing.assert_allclose(second, expected, rtol=1e-6)

    keep = {**wide.full, "second": [0, 1, 3, 4]}
    changed = compensated(wide.weights, wide.groups, readers, found, keep, wide.full)
    np.testing.assert_array_equal(changed["last", 0], wide.weights["last", 0])


def test_a_very_wide_reader_is_never_squared(monkeypatch: pytest.MonkeyPatch) -> None:
    """2,304 channels: no matrix of so many is inverted."""

    def made() -> keras.Model:
        image = keras.Input((6, 6, 2))
        x = layers.Flatten()(layers.Conv2D(64, 1, activation="relu", name="first")(image))
        return keras.Model(image, layers.Dense(CLASSES, activation="softmax", name="last")(x))

    inverted: list[int] = []

    def inverse(matrix: np.ndarray) -> np.ndarray:
        inverted.append(len(matrix))
        return np.linalg.inv(matrix)

    monkeypatch.setattr(elimination, "inverse", inverse)
    case = Case(made)
    readers, found = case.activations.readers, case.activations.of(case.weights)
    errors = output_errors(case.weights, case.groups, readers, found, case.full)
    assert max(inverted, default=0) < 2304
    assert np.isfinite(errors).all()
    assert (errors > 0).sum() > 32


# --- networks that diverged ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3e38])
@pytest.mark.parametrize("most", [2048, 0])
@pytest.mark.parametrize("layer", ["first", "second", "last"])
def test_a_network_that_diverged_goes_on(
    value: float, most: int, layer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverged(weights: Weights, model: keras.Model) -> Weights:
        kernel = weights[layer, 0].copy()
        kernel[..., 2] = value
        return {**weights, (layer, 0): kernel}

    monkeypatch.setattr(activations, "MOST_CHANNELS", most)
    case = Case(plain, diverged)
    readers, found = case.activations.readers, case.activations.of(case.weights)
    for moments in found:
        assert moments.covariance is None or np.isfinite(moments.covariance).all()
    errors = output_errors(case.weights, case.groups, readers, found, case.full)
    assert np.isfinite(errors).all()
    assert (errors >= 0).all()
    keep = {**case.full, "first": [0, 1, 2, 3], "second": [0, 2, 4]}
    changed = compensated(case.weights, case.groups, readers, found, keep, case.full)
    for reader, moments in zip(readers, found, strict=True):
        if moments.covariance is None or not np.isfinite(case.weights[reader.kernel]).all():
            before = case.weights[reader.kernel]
            np.testing.assert_array_equal(changed[reader.kernel], before)


def test_what_is_finite_of_a_network_that_diverged_goes_by_its_variance(case: Case) -> None:
    weights = {place: value.copy() for place, value in case.weights.items()}
    weights["first", 1][2] = np.inf
    readers, found = case.activations.readers, case.activations.of(weights)
    errors = output_errors(weights, case.groups, readers, found, case.full)
    first = errors[case.groups.groups[case.groups.index["first"]].filters]
    assert first[2] < 1e-3
    assert (first[[0, 1, 3, 4]] > 1e-2).all()  # Filter 4 is like filter 1, and none stands in.
