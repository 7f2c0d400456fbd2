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


def uses(groups: ChannelGroups) -> dict[tuple[tuple[str, int], int], list[int]]:
    """Filters of the group of that number along each axis that has any, -1 where frozen."""
    owner = {f: i for i, group in enumerate(groups.groups) for f in group.filters.tolist()}
    return {
        (use.variable, use.axis): [owner.get(f, -1) for f in use.filters.tolist()]
        for use in groups.uses
    }


def test_many_convolution_groups_are_filters(chain: Chain) -> None:
    model = chain(
        layers.Conv2D(8, 1, name="a"),
        layers.Conv2D(12, 3, groups=4, name="b"),
        layers.Conv2D(3, 1, name="c"),
    )
    groups = find_groups(model)
    assert groups.widths == {"a": 4}
    assert groups.groups[0].layers == ("a", "b")
    axes_of = {(use.variable, use.axis): use.filters for use in groups.uses}
    assert axes_of[("a", 0), 3].tolist() == np.repeat(groups.groups[0].filters, 2).tolist()
    assert axes_of[("c", 0), 2].tolist() == np.repeat(groups.groups[0].filters, 3).tolist()
    assert (("b", 0), 2) not in axes_of


def test_few_convolution_groups_lose_channels_of_each(chain: Chain) -> None:
    model = chain(
        layers.Conv2D(8, 1, name="a"),
        layers.Conv2D(6, 3, groups=2, name="b"),
        layers.Conv2D(3, 1, name="c"),
    )
    groups = find_groups(model)
    assert groups.widths == {"a": 4, "b": 3}
    axes_of = {(use.variable, use.axis): use.filters for use in groups.uses}
    assert axes_of[("a", 0), 3].tolist() == np.tile(groups.groups[0].filters, 2).tolist()
    assert axes_of[("b", 0), 2].tolist() == groups.groups[0].filters.tolist()
    assert axes_of[("c", 0), 2].tolist() == np.tile(groups.groups[1].filters, 2).tolist()


def test_channels_of_one_statistic_are_one_filter(chain: Chain) -> None:
    groups = find_groups(
        chain(
            layers.Conv2D(8, 1, name="a"),
            layers.GroupNormalization(4, name="norm"),
            layers.Conv2D(3, 1),
        )
    )
    assert groups.widths == {"a": 4}
    assert uses(groups)[("norm", 0), 0] == [0] * 8


def test_heads_are_filters() -> None:
    tokens = keras.Input((6, 4))
    x = layers.Dense(8, name="in")(tokens)
    x = layers.MultiHeadAttention(3, 5, name="attention")(x, x)
    model = keras.Model(tokens, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))
    groups = find_groups(model)
    assert groups.widths == {"in": 8, "attention": 3}
    assert [group.least for group in groups.groups] == [1, 2]
    names = {v.path.split("/", 1)[1]: i for i, v in enumerate(model.layers[2].variables)}
    found = uses(groups)
    for part in ("query", "key", "value"):
        assert found[("attention", names[f"{part}/kernel"]), 1] == [1] * 3
        assert found[("attention", names[f"{part}/kernel"]), 0] == [0] * 8
    assert found[("attention", names["attention_output/kernel"]), 0] == [1] * 3
    assert found[("attention", names["attention_output/kernel"]), 2] == [0] * 8


def test_a_single_head_stays() -> None:
    tokens = keras.Input((6, 4))
    x = layers.MultiHeadAttention(1, 5)(tokens, tokens)
    groups = find_groups(keras.Model(tokens, layers.Dense(2)(x)))
    assert [(group.width, group.least) for group in groups.groups] == [(1, 1)]


def test_slices_divide_a_layer() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(9, 1, name="wide")(image)
    parts = [x[..., :4], x[..., 4:6], x[..., 6:]]
    y = [layers.Conv2D(2, 1, name=f"part{i}")(part) for i, part in enumerate(parts)]
    groups = find_groups(keras.Model(image, y))
    assert groups.widths == {"wide": 4, "wide#2": 2, "wide#3": 3}
    found = uses(groups)
    assert found[("wide", 0), 3] == [0, 0, 0, 0, 1, 1, 2, 2, 2]
    assert [found[(f"part{i}", 0), 2] for i in range(3)] == [[0] * 4, [1] * 2, [2] * 3]


def test_parts_that_no_weight_tells_apart_stay() -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 1, name="wide")(image)
    a, b = keras.ops.split(x, [2], axis=-1)
    joined = layers.Concatenate()([layers.ReLU()(a), b])
    groups = find_groups(keras.Model(image, layers.Conv2D(2, 1)(joined)))
    # What one part keeps is enough to tell how much the other has.
    assert groups.widths == {"wide": 4}
    (whole,) = groups.kept_whole
    assert "taken apart" in whole.reason


@pytest.mark.parametrize(
    "key",
    [(Ellipsis, 0), (Ellipsis, slice(None, None, 2)), (Ellipsis, None)],
    ids=["one", "every other", "new axis"],
)
def test_other_slices_keep_whole(key: Any) -> None:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 1, name="a")(image)
    y = layers.Flatten()(layers.Conv2D(4, 1, name="b")(x)[key])
    groups = find_groups(keras.Model(image, layers.Dense(2)(y)))
    assert groups.widths == {"a": 6}
    assert groups.kept_whole[0].reason == "takes something else than a range of channels"


def test_normalisation_of_the_input_is_followed(chain: Chain) -> None:
    norm = layers.Normalization(mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])
    groups = find_groups(chain(norm, layers.Conv2D(4, 1, name="a"), layers.Conv2D(2, 1)))
    assert groups.widths == {"a": 4}
    assert groups.kept_whole == ()
    scale = layers.Rescaling([1.0, 2.0, 3.0, 4.0])
    groups = find_groups(chain(layers.Conv2D(4, 1), scale, layers.Conv2D(2, 1)))
    assert [whole.reason for whole in groups.kept_whole] == ["one scale for each channel"]


def test_a_layer_followed_in_one_call_only_is_kept_whole() -> None:
    tokens = keras.Input((6, 8))
    x = layers.Dense(8, name="a")(tokens)
    attention = layers.MultiHeadAttention(4, 2, name="attention")
    y, _ = attention(x, x, return_attention_scores=True)
    y = attention(layers.Dense(8, name="b")(y), x)
    groups = find_groups(keras.Model(tokens, layers.Dense(2)(y)))
    assert groups.widths == {}
    assert [whole.layer for whole in groups.kept_whole] == ["attention"]
