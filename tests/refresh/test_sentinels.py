"""Which kernels stand for a table."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from adapt.refresh.sentinels import SENTINELS, choose_sentinels, kind_of, timed_error
from lookup_tables import Entry, Kernel, Tensor

OPS = ("CONV_2D", "ADD", "SOFTMAX", "PAD")


def kernel(number: int, op: str = "ADD", dtype: str = "float32") -> Kernel:
    return Kernel.make(op, [Tensor(dtype, (1, number))], [Tensor(dtype, (1, number))])


def entry(us: float = 10.0, error: float = 0.002, at: float = 0.0, source: str = "") -> Entry:
    return Entry(us, error, 0.2, 0 if source else 1, at, source)


ENTRIES = st.dictionaries(
    st.builds(kernel, st.integers(1, 40), st.sampled_from(OPS), st.sampled_from(["int8", "bool"])),
    st.builds(
        entry,
        st.floats(0.01, 1e5),
        st.floats(0, 0.05),
        st.floats(0, 1e9),
        st.sampled_from(["", "", "colleague"]),
    ),
    max_size=60,
)


@given(ENTRIES, st.integers(1, 20), st.randoms(use_true_random=False))
def test_some_own_entries_of_every_kind(
    entries: dict[Kernel, Entry], count: int, chance: random.Random
) -> None:
    own = [kernel for kernel, entry in entries.items() if not entry.source]
    chosen = choose_sentinels(entries, count)
    assert len(set(chosen)) == len(chosen) == min(count, len(own))
    assert set(chosen) <= set(own)
    kinds = {kind_of(kernel) for kernel in own}
    assert len({kind_of(kernel) for kernel in chosen}) == min(count, len(kinds))
    shuffled = list(entries.items())
    chance.shuffle(shuffled)
    assert choose_sentinels(dict(shuffled), count) == chosen


def test_the_kind_with_most_entries_has_most_sentinels() -> None:
    entries = {kernel(n, "CONV_2D"): entry() for n in range(1, 101)}
    entries |= {kernel(n, "ADD"): entry() for n in range(1, 11)}
    entries[kernel(1, "SOFTMAX")] = entry()
    places = Counter(kind_of(kernel).op for kernel in choose_sentinels(entries))
    assert places == {"CONV_2D": SENTINELS - 2, "ADD": 1, "SOFTMAX": 1}


def test_they_are_spread_over_the_times() -> None:
    entries = {kernel(n): entry(us=float(n + 10)) for n in range(1, 161)}
    times = sorted(entries[kernel].latency_us for kernel in choose_sentinels(entries))
    assert [int((us - 11) // 10) for us in times] == list(range(16))


def test_long_enough_well_agreed_and_old_in_this_order() -> None:
    good = entry(us=5.0, error=0.001, at=50.0)
    for better, worse in (
        (good, replace(good, latency_us=2.0, measured_at=1.0)),
        (good, replace(good, relative_error=0.03, measured_at=1.0)),
        (good, replace(good, measured_at=60.0)),
        (replace(good, relative_error=0.03), replace(good, latency_us=0.2)),
    ):
        for first, second in ((better, worse), (worse, better)):
            entries = {kernel(1): first, kernel(2): second}
            (chosen,) = choose_sentinels(entries, 1)
            assert entries[chosen] == better


def test_what_was_measured_last_night_is_not_chosen_again() -> None:
    entries = {kernel(n): entry(us=float(n + 10)) for n in range(1, 101)}
    first = choose_sentinels(entries)
    entries |= {kernel: replace(entries[kernel], measured_at=1.0) for kernel in first}
    assert not set(first) & set(choose_sentinels(entries))


def test_the_error_of_what_was_timed() -> None:
    assert timed_error(Entry(0.01, 0.5, 0.49, 1, 0.0)) == 0.01
