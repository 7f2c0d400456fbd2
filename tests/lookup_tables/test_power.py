"""What a few samples of a kind say of the others."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lookup_tables import Kernel, Tensor
from lookup_tables.power import SAMPLES, PowerSample, choose_samples, kind_of, power_of


def relu(units: int, dtype: str = "float32") -> Kernel:
    return Kernel.make("RELU", [Tensor(dtype, (units,))], [Tensor(dtype, (units,))])


def test_kinds_are_operators_and_types_of_data() -> None:
    assert kind_of(relu(1)) == kind_of(relu(2)) != kind_of(relu(1, "int8"))


def test_power_is_energy_over_time() -> None:
    samples = [PowerSample(us, 5.0 * us) for us in (1.0, 10.0, 100.0, 1_000.0)]
    power = power_of(samples)
    assert power is not None
    assert (power.watts, power.relative_error) == (pytest.approx(5.0), pytest.approx(0, abs=1e-9))


def test_fewer_samples_say_nothing() -> None:
    assert power_of([PowerSample(1.0, 5.0)] * (SAMPLES - 1)) is None


def test_short_kernels_that_are_lost_in_noise_hardly_count() -> None:
    long = [PowerSample(1_000.0, 5_000.0)] * 3
    power = power_of([*long, PowerSample(0.01, 5.0)])
    assert power is not None
    assert power.watts == pytest.approx(5.0, rel=0.01)


def test_the_spread_is_stated() -> None:
    power = power_of([PowerSample(100.0, watts * 100.0) for watts in (4.0, 4.0, 6.0, 6.0)])
    assert power is not None
    assert (power.watts, power.relative_error) == (pytest.approx(5.0), pytest.approx(0.2))


@given(
    st.lists(
        st.builds(PowerSample, st.floats(1e-3, 1e6), st.floats(1e-3, 1e6)), min_size=4, max_size=9
    ),
    st.randoms(),
)
def test_order_does_not_matter(samples: list[PowerSample], generator: random.Random) -> None:
    shuffled = list(samples)
    generator.shuffle(shuffled)
    assert power_of(shuffled) == power_of(samples)


def test_samples_are_spread_from_the_longest_to_the_shortest() -> None:
    times = {relu(n): float(n) for n in range(1, 11)}
    chosen = choose_samples(times, known=0)
    assert chosen == [relu(n) for n in (10, 7, 4, 1)]
    assert chosen == choose_samples(dict(reversed(times.items())), known=0)


@pytest.mark.parametrize(
    ("known", "expected"), [(1, (10, 6, 1)), (2, (10, 1)), (3, (10,)), (4, ()), (9, ())]
)
def test_no_more_than_are_lacking(known: int, expected: tuple[int, ...]) -> None:
    times = {relu(n): float(n) for n in range(1, 11)}
    assert choose_samples(times, known) == [relu(n) for n in expected]


def test_all_are_chosen_where_there_are_few() -> None:
    assert choose_samples({relu(1): 5.0}, 0) == [relu(1)]
    assert choose_samples({relu(1): 5.0, relu(2): 5.0}, 1) == [relu(1), relu(2)]
