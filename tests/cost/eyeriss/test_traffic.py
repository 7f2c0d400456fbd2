"""The access formulas, and what holds of any mapping whatever."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adapt.cost.eyeriss import Hardware, Layer, Operand, Settings, estimate_layer, load_hardware
from adapt.cost.eyeriss.encoding import ENCODINGS, encoded_share
from adapt.cost.eyeriss.mapping import Cut, Mapping, buffer_words, legal
from adapt.cost.eyeriss.traffic import input_moves, psum_moves
from adapt.errors import InputError

CHIP = load_hardware("eyeriss")


def small_hardware(rows: int, columns: int, words: int, buffer: int) -> Hardware:
    return replace(
        CHIP,
        rows=rows,
        columns=columns,
        ifmap_words=words,
        weight_words=3 * words,
        psum_words=words,
        buffer_words=buffer,
        all_buffer_words=buffer,
    )


hardwares = st.builds(
    small_hardware,
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(30, 300),
)


@st.composite
def layers(draw: st.DrawFn, most: int = 5, groups: bool = False) -> Layer:
    def size(limit: int = most) -> int:
        return draw(st.integers(1, limit))

    kernel, stride = (size(3), size(3)), (size(2), size(2))
    out = (size(), size())
    parts = size(3) if groups else 1
    # Some rows and columns of the input may be left over.
    left_over = [draw(st.integers(0, s - 1)) for s in stride]
    inputs = [
        (o - 1) * s + k + rest for o, s, k, rest in zip(out, stride, kernel, left_over, strict=True)
    ]
    density = st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0])
    operands = [Operand(draw(st.sampled_from([4, 8, 16])), draw(density)) for _ in range(3)]
    return Layer(
        "layer", parts * size(), parts * size(), *inputs, *kernel, *stride, *out, parts,
        1, 1, *operands,
    )  # fmt: skip


def cost(moves: dict[str, float]) -> float:
    return sum(CHIP.access_cost(level) * count for level, count in moves.items())


def test_the_worked_example_of_an_input() -> None:
    assert cost(input_moves(1, 2, 3, 4)) == 200 + 6 * 2 + 2 * 6 + 24 == 248


def test_the_worked_example_of_a_partial_sum() -> None:
    assert cost(psum_moves(2, 3, 3, 2)) == 200 * 3 + 6 * 8 + 2 * 12 + 36 == 708


def test_a_buffer_that_nothing_is_used_from_twice_is_passed_by() -> None:
    assert input_moves(2, 1, 3, 1)["buffer"] == 0
    assert psum_moves(1, 1, 1, 5)["buffer"] == 0


@pytest.mark.parametrize("policy", ["optimal", "mit2017"])
@pytest.mark.parametrize("name", ["eyeriss", "isca16"])
def test_words_are_the_formulas_where_everything_divides(
    make_layer: Any, policy: str, name: str
) -> None:
    layer = make_layer(18, 3, 8, 16)
    mapping = Mapping(m=8, n=2, e=8, p=4, q=2, r=2, t=1)
    words = estimate_layer(
        layer, load_hardware(name), Settings(batch=4, policy=policy), mapping
    ).words
    # Reuse at DRAM, buffer, array and scratchpad, of one value, from the meaning of m to t.
    weight = input_moves(2 * 2, 1, 8, 2 * 16)
    halo = 2 * 10 / 18
    ifmap = input_moves(2 * halo, 2, 1, 1)
    psum = psum_moves(1, 8 // 4, 3 * 2, 2 * 3)
    assert words["dram", "weight"] * 4 == layer.weights * weight["dram"]
    assert words["array", "weight"] * 4 == layer.weights * weight["array"]
    assert words["scratchpad", "weight"] == layer.macs
    assert words["dram", "ifmap"] == pytest.approx(layer.inputs * ifmap["dram"])
    assert words["buffer", "ifmap"] == pytest.approx(layer.inputs * ifmap["buffer"])
    assert words["dram", "ofmap"] == layer.outputs
    assert words["buffer", "ofmap"] == layer.outputs * psum["buffer"]
    if policy == "optimal":
        assert words["array", "ofmap"] == layer.outputs * psum["array"]
        assert words["scratchpad", "ofmap"] == layer.outputs * psum["scratchpad"]
        assert words["buffer", "weight"] == 0
    else:
        assert words["array", "ofmap"] == layer.outputs * (psum["array"] + psum["buffer"])
        assert words["scratchpad", "ofmap"] == 2 * layer.macs


def every_mapping(layer: Layer, hardware: Hardware, images: int) -> Mapping:
    group = layer.one_group()
    limits = (
        group.filters, images, group.out_height, group.filters, group.channels * 3,
        group.channels * 9, hardware.rows * hardware.columns,
    )  # fmt: skip
    axes = np.meshgrid(*(np.arange(1, limit + 1) for limit in limits), indexing="ij", sparse=True)
    candidates = Mapping(*axes)
    fits = legal(group, hardware, candidates, images)
    return Mapping(*(np.broadcast_to(v, fits.shape)[fits] for v in vars(candidates).values()))


@settings(max_examples=25)
@given(layers(most=3), hardwares, st.integers(1, 3))
def test_the_optimiser_is_as_good_as_trying_everything(
    layer: Layer, hardware: Hardware, images: int
) -> None:
    every = every_mapping(layer, hardware, images)
    assume(np.size(every.m))
    options = Settings(batch=images)
    found = estimate_layer(layer, hardware, options)
    assert legal(layer.one_group(), hardware, found.mapping, images)
    from adapt.cost.eyeriss.energy import energies
    from adapt.cost.eyeriss.policies import POLICIES
    from adapt.cost.eyeriss.traffic import traffic

    moved = traffic(layer, hardware, every, images, POLICIES["optimal"].movement)
    least = np.min(sum(energies(layer, hardware, options, moved).values()))
    assert found.total * images == pytest.approx(least, rel=1e-12)


@settings(max_examples=60)
@given(layers(groups=True), hardwares, st.integers(1, 4), st.sampled_from(["optimal", "mit2017"]))
def test_a_mapping_fits_and_moves_each_datum_once(
    layer: Layer, hardware: Hardware, images: int, policy: str
) -> None:
    try:
        found = estimate_layer(layer, hardware, Settings(batch=images, policy=policy))
    except InputError:
        return  # Nothing fits; that there is indeed nothing, the test above shows.
    mapping, group = found.mapping, layer.one_group()
    cut = Cut.of(group, hardware)
    assert mapping.q * cut.width <= hardware.ifmap_words
    assert mapping.p * mapping.q * cut.width <= hardware.weight_words
    assert mapping.p <= hardware.psum_words
    assert found.elements <= hardware.rows * hardware.columns
    if policy == "optimal":
        assert buffer_words(group, mapping) <= hardware.buffer_words
    # Words are means over the images: quotients that may be rounded down.
    assert found.words["dram", "ifmap"] >= layer.inputs * (1 - 1e-12)
    assert found.words["dram", "ofmap"] == layer.outputs
    assert found.words["dram", "weight"] >= layer.weights / images * (1 - 1e-12)
    assert found.macs <= layer.macs
    # No element does more than one MAC a cycle.
    assert found.compute_cycles * hardware.rows * hardware.columns >= layer.macs


@settings(max_examples=40)
@given(layers(groups=True), st.sampled_from(["optimal", "mit2017"]))
def test_a_grouped_convolution_is_the_sum_of_its_groups(layer: Layer, policy: str) -> None:
    one = estimate_layer(layer.one_group(), CHIP, Settings(policy=policy))
    assume(policy == "optimal" or layer.outputs <= CHIP.all_buffer_words)
    whole = estimate_layer(layer, CHIP, Settings(policy=policy))
    assert whole.total == pytest.approx(layer.groups * one.total)
    assert whole.compute_cycles == layer.groups * one.compute_cycles


@settings(max_examples=40)
@given(layers(groups=True), hardwares, st.integers(1, 3), st.integers(0, 200))
def test_more_images_and_more_buffer_never_cost_more(
    layer: Layer, hardware: Hardware, images: int, words: int
) -> None:
    larger = replace(hardware, buffer_words=hardware.buffer_words + words)
    try:
        before = estimate_layer(layer, hardware, Settings(batch=images)).total
    except InputError:
        return
    rounding = 1 + 1e-12
    assert estimate_layer(layer, larger, Settings(batch=images)).total <= before * rounding
    # Any mapping of a batch serves twice, so a doubled batch costs each image no more.
    assert estimate_layer(layer, hardware, Settings(batch=2 * images)).total <= before * rounding


@given(layers(groups=True), st.sampled_from(ENCODINGS), st.sampled_from(["optimal", "mit2017"]))
@settings(max_examples=40)
def test_without_zeros_encoding_changes_nothing(layer: Layer, encoding: str, policy: str) -> None:
    layer = layer.dense()
    raw = estimate_layer(layer, CHIP, Settings(policy=policy, encoding="none"))
    assert estimate_layer(layer, CHIP, Settings(policy=policy, encoding=encoding)) == raw


@pytest.mark.parametrize("policy", ["optimal", "mit2017"])
def test_zeros_save_energy_and_no_time(make_layer: Any, policy: str) -> None:
    sparse = make_layer(15, 3, 32, 64, ifmap=Operand(16, 0.3), weight=Operand(16, 0.2))
    with_zeros = estimate_layer(sparse, CHIP, Settings(policy=policy))
    without = estimate_layer(sparse.dense(), CHIP, Settings(policy=policy))
    assert with_zeros.energy["mac", "computation"] == pytest.approx(0.06 * sparse.macs)
    assert with_zeros.total < 0.6 * without.total


def test_a_mac_that_is_not_skipped_costs_five_and_its_sum_no_more(make_layer: Any) -> None:
    layer = make_layer(15, 3, 32, 64)
    half = replace(layer, ifmap=Operand(16, 0.5))
    options = Settings(policy="mit2017", encoding="none")
    saved = estimate_layer(layer, CHIP, options).total - estimate_layer(half, CHIP, options).total
    assert saved == pytest.approx(5 * layer.macs / 2)


def test_energy_follows_the_bits(make_layer: Any) -> None:
    def spent(bits: float) -> dict[tuple[str, str], float]:
        operand = Operand(bits)
        layer = make_layer(15, 3, 32, 64, ifmap=operand, ofmap=operand, weight=operand)
        return dict(estimate_layer(layer, CHIP, Settings(policy="mit2017")).energy)

    wide, narrow = spent(16), spent(4)
    for key, energy in wide.items():
        ratio = 16 if key[0] == "mac" else 4
        assert narrow[key] * ratio == pytest.approx(energy), key


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_an_encoding_never_grows_and_follows_the_density(encoding: str) -> None:
    shares = [encoded_share(encoding, Operand(16, d / 100)) for d in range(101)]
    assert all(0 < share <= 1 for share in shares)
    assert shares == sorted(shares)
    assert shares[-1] == 1


def test_the_published_formula_of_run_lengths() -> None:
    for density in (0.01, 0.1, 0.3, 0.6):
        q = 1 - density
        published = 4 / 3 * density * (1 + q**32 / (1 - q**32))
        assert encoded_share("run-length", Operand(16, density)) == pytest.approx(published)
    # Nothing but zeros: one pair of 21 1/3 bits for 32 values.
    assert encoded_share("run-length", Operand(16, 0)) == pytest.approx(21 / 16 / 32, rel=0.02)
    assert encoded_share("significance-map", Operand(16, 0.25)) == 0.25 + 1 / 16


def test_kernels_larger_than_array_and_scratchpad_are_cut(make_layer: Any) -> None:
    layer = make_layer(40, 25, 3, 8)
    cut = Cut.of(layer, CHIP)
    assert (cut.height, cut.down, cut.width, cut.across) == (9, 3, 9, 3)
    found = estimate_layer(layer, CHIP, Settings())
    assert found.elements <= CHIP.rows * CHIP.columns
    adds = [found.words["scratchpad", "ofmap"] / 2, found.words["array", "ofmap"]]
    adds.append(found.words["buffer", "ofmap"] / 2)
    assert sum(adds) == layer.macs - layer.outputs  # Each sum is added up once, somewhere.


def test_a_layer_that_fits_in_no_way_is_named(make_layer: Any) -> None:
    layer = make_layer(300, 3, 3, 8)
    with pytest.raises(InputError, match="layer layer does not fit"):
        estimate_layer(layer, small_hardware(4, 4, 6, 100), Settings())


def test_a_search_without_end_is_refused() -> None:
    layer = Layer("huge", 1000, 1000, 1 << 20, 9, 1, 1, 1, 1, 1 << 20, 9)
    with pytest.raises(InputError, match=r"layer huge has [0-9]+ mappings"):
        estimate_layer(layer, CHIP, Settings(batch=4096))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 0}, "channels is 0\n  Valid: 1 to"),
        ({"filters": -3}, "filters is -3"),
        ({"kernel_height": 19}, "a kernel 19 high on a padded input 18 high"),
        ({"dilation_x": 9}, "a kernel 19 wide on a padded input 18 wide"),
        ({"groups": 3}, "groups is 3\n  Valid: a divisor of 8 channels and 16 filters"),
        ({"ifmap": Operand(16, 1.5)}, "density of the ifmap is 1.5\n  Valid: 0 to 1"),
        ({"weight": Operand(0)}, "bits of the weight is 0\n  Valid: 1 to 64"),
        ({"weight": Operand(16, float("nan"))}, "density of the weight is nan"),
    ],
)
def test_what_is_no_layer_is_refused(make_layer: Any, change: dict[str, Any], message: str) -> None:
    layer = make_layer(18, 3, 8, 16)
    with pytest.raises(InputError) as caught:
        replace(layer, **change)
    assert message in str(caught.value)
