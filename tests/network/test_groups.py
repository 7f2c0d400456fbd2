from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from adapt.network.groups import ChannelGroups, find_groups

Chain = Callable[..., keras.Model]


def axes(groups: ChannelGroups, group: str) -> set[tuple[str, int, int]]:
    """(layer, variable, axis) of everything that loses a slice with a filter of the group."""
    filters = groups.groups[groups.index[group]].filters
    return {(*use.variable, use.axis) for use in groups.uses if np.isin(use.filters, filters).any()}


def head(x: Any) -> Any:
    return layers.Dense(3, name="head")(layers.GlobalAveragePooling2D()(x))


def test_chain(chain: Chain) -> None:
    groups = find_groups(
        chain(
            layers.Conv2D(6, 3, name="first"),
            layers.Conv2D(5, 3, use_bias=False, name="second"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(4, name="hidden"),
            layers.Dense(3, name="head"),
        )
    )
    assert groups.widths == {"first": 6, "second": 5, "hidden": 4}
    assert axes(groups, "first") == {("first", 0, 3), ("first", 1, 0), ("second", 0, 2)}
    assert axes(groups, "second") == {("second", 0, 3), ("hidden", 0, 0)}
    assert axes(groups, "hidden") == {("hidden", 0, 1), ("hidden", 1, 0), ("head", 0, 0)}
    assert groups.kept_whole == ()


def test_only_kernels_produce(chain: Chain) -> None:
    groups = find_groups(
        chain(layers.Conv2D(6, 3, name="conv"), layers.BatchNormalization(), layers.Conv2D(3, 3))
    )
    made = [(use.variable, use.axis) for use in groups.uses if use.produces]
    assert made[0] == (("conv", 0), 3)
    assert len(made) == 2
    assert groups.groups[0].layers == ("conv",)


def test_input_and_output_are_frozen(chain: Chain) -> None:
    groups = find_groups(chain(layers.Conv2D(6, 3, name="only")))
    assert groups.groups == ()
    assert groups.frozen.all()


def test_residual_addition_is_one_group() -> None:
    image = keras.Input((8, 8, 3))
    a = layers.Conv2D(6, 3, padding="same", name="a")(image)
    b = layers.Conv2D(6, 3, padding="same", name="b")(a)
    c = layers.Conv2D(6, 3, padding="same", name="c")(b)
    groups = find_groups(keras.Model(image, head(layers.Add()([a, c]))))
    assert groups.widths == {"a": 6, "b": 6}
    assert groups.groups[0].layers == ("a", "c")
    assert axes(groups, "a") == {
        ("a", 0, 3), ("a", 1, 0), ("b", 0, 2), ("c", 0, 3), ("c", 1, 0), ("head", 0, 0),
    }  # fmt: skip


def test_addition_to_the_input_freezes(chain: Chain) -> None:
    image = keras.Input((8, 8, 3))
    a = layers.Conv2D(3, 3, padding="same")(layers.Conv2D(5, 1, name="inner")(image))
    groups = find_groups(keras.Model(image, head(layers.Add()([image, a]))))
    assert groups.widths == {"inner": 5}


def test_depthwise_multiplier_repeats_channels(chain: Chain) -> None:
    groups = find_groups(
        chain(
            layers.Conv2D(4, 1, name="a"),
            layers.DepthwiseConv2D(3, depth_multiplier=2, name="deep"),
            layers.Conv2D(5, 1, name="b"),
            layers.Conv2D(3, 1),
        )
    )
    assert groups.widths == {"a": 4, "b": 5}
    uses = {(use.variable, use.axis): use.filters for use in groups.uses}
    made = uses[("a", 0), 3]
    assert uses[("deep", 0), 2].tolist() == made.tolist()
    assert uses[("b", 0), 2].tolist() == np.repeat(made, 2).tolist()
    assert uses[("deep", 1), 0].tolist() == np.repeat(made, 2).tolist()
    assert groups.size(uses[("b", 0), 2]).at([3, 5]) == 6


def test_batch_norm_carries_all_four(chain: Chain) -> None:
    groups = find_groups(
        chain(
            layers.Conv2D(4, 1, use_bias=False, name="a"),
            layers.BatchNormalization(name="norm"),
            layers.ReLU(),
            layers.Conv2D(3, 1, name="b"),
        )
    )
    norm = {("norm", number, 0) for number in range(4)}
    assert axes(groups, "a") == norm | {("a", 0, 3), ("b", 0, 2)}


def test_flatten_repeats_every_channel(chain: Chain) -> None:
    groups = find_groups(
        chain(layers.Conv2D(4, 3, name="a"), layers.Flatten(), layers.Dense(3, name="head"))
    )
    (rows,) = (use.filters for use in groups.uses if use.variable == ("head", 0) and use.axis == 0)
    assert rows.tolist() == np.tile(groups.groups[0].filters, 36).tolist()
    assert groups.size(rows).at([3]) == 3 * 36


@pytest.mark.parametrize(
    ("target", "shape"),
    [((36, 4), (6, 6, 4)), ((-1, 4), (6, 6, 4)), ((144,), (6, 6, 4)), ((-1,), (6, 6, 4))],
)
def test_reshape_keeps_or_flattens_channels(chain: Chain, target: Any, shape: Any) -> None:
    model = chain(layers.Conv2D(4, 3, name="a"), layers.Reshape(target), layers.Dense(3))
    groups = find_groups(model)
    assert groups.widths == {"a": 4}
    assert groups.kept_whole == ()


def test_other_reshape_keeps_whole(chain: Chain) -> None:
    groups = find_groups(
        chain(
            layers.Conv2D(4, 3, name="a"),
            layers.Conv2D(6, 3, name="b"),
            layers.Reshape((24, 4), name="mix"),
            layers.Dense(3),
        )
    )
    assert groups.widths == {"a": 4}
    (whole,) = groups.kept_whole
    assert (whole.layer, whole.kind) == ("mix", "Reshape")
    assert whole.reason == "reshapes (4, 4, 6) to (24, 4)"


def test_concatenation_joins_channels_side_by_side() -> None:
    image = keras.Input((8, 8, 3))
    a = layers.Conv2D(4, 1, name="a")(image)
    b = layers.Conv2D(5, 1, name="b")(image)
    groups = find_groups(keras.Model(image, head(layers.Concatenate()([a, b, a]))))
    assert groups.widths == {"a": 4, "b": 5}
    (rows,) = (use.filters for use in groups.uses if use.variable == ("head", 0) and use.axis == 0)
    a_filters, b_filters = (group.filters.tolist() for group in groups.groups)
    assert rows.tolist() == a_filters + b_filters + a_filters
    assert groups.size(rows).at([2, 3]) == 7


def test_addition_of_concatenations_splits_a_layer_into_two_groups() -> None:
    image = keras.Input((8, 8, 3))
    a, b = layers.Conv2D(4, 1, name="a")(image), layers.Conv2D(5, 1, name="b")(image)
    wide = layers.Conv2D(9, 1, name="wide")(image)
    groups = find_groups(
        keras.Model(image, head(layers.Add()([wide, layers.Concatenate()([a, b])])))
    )
    assert sorted(groups.widths.values()) == [4, 5]
    assert len(set(groups.widths)) == 2
    assert {layer for group in groups.groups for layer in group.layers} == {"a", "b", "wide"}


def test_concatenation_along_rows_unites() -> None:
    image = keras.Input((8, 8, 3))
    a = layers.Conv2D(4, 1, name="a")(image)
    b = layers.Conv2D(4, 1, name="b")(image)
    groups = find_groups(keras.Model(image, head(layers.Concatenate(axis=1)([a, b]))))
    assert groups.widths == {"a": 4}
    assert groups.groups[0].layers == ("a", "b")


def test_shared_layer_unites_its_inputs() -> None:
    image = keras.Input((8, 8, 3))
    a = layers.Conv2D(4, 1, name="a")(image)
    b = layers.Conv2D(4, 1, name="b")(image)
    shared = layers.Conv2D(5, 1, name="shared")
    groups = find_groups(keras.Model(image, head(layers.Concatenate()([shared(a), shared(b)]))))
    assert sorted(groups.widths.values()) == [4, 5]
    assert {group.layers for group in groups.groups} <= {("a", "b"), ("b", "a"), ("shared",)}


def test_shared_layer_without_channels_of_its_own_unites_nothing() -> None:
    image = keras.Input((8, 8, 3))
    drop = layers.Dropout(0.5)  # Its one variable is the seed.
    a, b = layers.Conv2D(4, 1, name="a")(image), layers.Conv2D(5, 1, name="b")(image)
    groups = find_groups(keras.Model(image, head(layers.Concatenate()([drop(a), drop(b)]))))
    assert groups.widths == {"a": 4, "b": 5}


def test_shared_batch_norm_unites() -> None:
    image = keras.Input((8, 8, 3))
    a = layers.Conv2D(4, 1, name="a")(image)
    b = layers.Conv2D(4, 1, name="b")(image)
    norm = layers.BatchNormalization()
    groups = find_groups(keras.Model(image, head(layers.Concatenate()([norm(a), norm(b)]))))
    assert [sorted(group.layers) for group in groups.groups] == [["a", "b"]]


@pytest.mark.parametrize(
    ("target", "made_by"),
    # The target is one setting, and equal for both calls; -1 leaves the channels open.
    [((64, 4), [{"a", "b"}]), ((64, -1), [{"a"}, {"b"}])],
)
def test_shared_reshape(target: tuple[int, int], made_by: list[set[str]]) -> None:
    image = keras.Input((8, 8, 3))
    a = layers.Conv2D(4, 1, name="a")(image)
    b = layers.Conv2D(4, 1, name="b")(image)
    flat = layers.Reshape(target)
    x = layers.GlobalMaxPooling1D()(layers.Concatenate()([flat(a), flat(b)]))
    groups = find_groups(keras.Model(image, layers.Dense(3)(x)))
    assert sorted((set(group.layers) for group in groups.groups), key=min) == made_by


def test_squeeze_and_excite_gate_belongs_to_its_trunk() -> None:
    image = keras.Input((8, 8, 3))
    trunk = layers.Conv2D(8, 1, name="trunk")(image)
    x = layers.GlobalAveragePooling2D()(trunk)
    x = layers.Dense(2, activation="relu", name="squeeze")(x)
    gate = layers.Dense(8, activation="sigmoid", name="gate")(x)
    groups = find_groups(keras.Model(image, head(layers.Multiply()([trunk, gate]))))
    assert groups.widths == {"trunk": 8, "squeeze": 2}
    assert groups.groups[0].layers == ("trunk", "gate")


def test_spatial_gate_is_kept() -> None:
    image = keras.Input((8, 8, 3))
    trunk = layers.Conv2D(8, 1, name="trunk")(image)
    gate = layers.Conv2D(1, 7, padding="same", activation="sigmoid", name="gate")(trunk)
    groups = find_groups(keras.Model(image, head(layers.Multiply()([trunk, gate]))))
    assert groups.widths == {"trunk": 8}


def test_softmax_over_channels_freezes(chain: Chain) -> None:
    groups = find_groups(
        chain(
            layers.Conv2D(6, 1, name="a"),
            layers.Conv2D(5, 1, activation="softmax", name="attention"),
            layers.Conv2D(4, 1, name="b"),
            layers.Softmax(),
            layers.Conv2D(3, 1),
        )
    )
    assert groups.widths == {"a": 6}
    assert groups.kept_whole == ()


def test_plain_operations() -> None:
    image = keras.Input((8, 8, 3))
    a = layers.Conv2D(4, 1, name="a")(image)
    b = layers.Conv2D(4, 1, name="b")(image)
    groups = find_groups(keras.Model(image, head((a + 3.0) * b - 1.0)))
    assert groups.widths == {"a": 4}
    assert groups.groups[0].layers == ("a", "b")


def test_plain_average_is_not_the_layer() -> None:
    image = keras.Input((8, 8, 3))
    a = layers.Conv2D(4, 1, name="a")(layers.Conv2D(6, 1, name="first")(image))
    x = keras.ops.average(a, axis=1)
    groups = find_groups(keras.Model(image, layers.Dense(3)(layers.Flatten()(x))))
    assert groups.widths == {"first": 6}
    assert [whole.reason for whole in groups.kept_whole] == ["no rule for Average"]


def test_nothing_is_concluded_from_names() -> None:
    def build(names: list[str]) -> ChannelGroups:
        image = keras.Input((8, 8, 3), name=names[0])
        a = layers.Conv2D(4, 1, name=names[1])(image)
        b = layers.DepthwiseConv2D(3, padding="same", name=names[2])(a)
        c = layers.BatchNormalization(name=names[3])(layers.Conv2D(4, 1, name=names[4])(b))
        x = layers.Add(name=names[5])([a, c])
        x = layers.Dense(6, name=names[6])(layers.Flatten(name=names[7])(x))
        return find_groups(keras.Model(image, layers.Dense(3, name=names[8])(x)))

    honest = ["image", "conv", "depthwise", "norm", "pointwise", "add", "dense", "flat", "head"]
    misleading = ["head", "add", "dense", "conv", "output", "input_1", "softmax", "lambda", "image"]
    plain, odd = build(honest), build(misleading)
    renamed = dict(zip(honest, misleading, strict=True))
    assert plain.widths == {"conv": 4, "dense": 6}
    assert odd.widths == {renamed[name]: width for name, width in plain.widths.items()}
    for name in plain.widths:
        expected = {(renamed[layer], *rest) for layer, *rest in axes(plain, name)}
        assert axes(odd, renamed[name]) == expected


@pytest.mark.parametrize(
    ("name", "count"),
    [("demo", 6), ("resnet8", 6), ("mobilenet", 14), ("mobilenet_v2", 25)],
)
def test_real_networks(model_of: Callable[[str], keras.Model], name: str, count: int) -> None:
    groups = find_groups(model_of(name))
    assert len(groups.groups) == count
    assert groups.kept_whole == ()
    assert len(groups.widths) == count
    taken = np.concatenate([group.filters for group in groups.groups])
    assert len(np.unique(taken)) == len(taken)
    assert not groups.frozen[taken].any()


def test_kept_marks_the_filters_that_go(chain: Chain) -> None:
    groups = find_groups(chain(layers.Conv2D(4, 1, name="a"), layers.Conv2D(3, 1)))
    kept = groups.kept({"a": [2, 0]})
    assert kept[groups.groups[0].filters].tolist() == [True, False, True, False]
    assert kept.sum() == len(kept) - 2
    assert groups.kept({}).all()
