"""What benchmark_model printed, as people have published it, and what it never prints."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.fleet.benchmark.output import window
from lookup_tables.quality import Rejected, judge

# TensorFlow 2.3 on a phone.
PHONE = """\
STARTING!
Num threads: [4]
Graph: [/data/local/tmp/espcn_harmonic_2x_slim_w_cl.tflite]
Initialized session in 0.855ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding\
 150 seconds.
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding\
 150 seconds.
count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450

Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, Inference\
 (avg): 33209.4
"""
# TensorFlow 2.12 or later on a Linux board, with quantiles and large means in another form.
BOARD = """\
INFO: STARTING!
INFO: Use xnnpack: [0]
INFO: Initialized session in 5.579ms.
INFO: count=1 curr=1357602 p5=1357602 median=1357602 p95=1357602

INFO: count=50 first=1249964 curr=1240143 min=1238588 max=1252566 avg=1.24027e+06 std=2565\
 p5=1238753 median=1239807 p95=1247415

INFO: Inference timings in us: Init: 5579, First inference: 1357602, Warmup (avg): 1.3576e+06,\
 Inference (avg): 1.24027e+06
INFO: Memory footprint delta from the start of the tool (MB): init=6.36328 overall=109.832
"""


def test_published_outputs() -> None:
    phone = window(PHONE, 3.0)
    assert (phone.samples, phone.min_us, phone.median_us) == (50, 32641, 33209.4)
    assert phone.start_ms == 3.0
    board = window(BOARD, 0.0)
    assert (board.samples, board.min_us, board.median_us) == (50, 1238588, 1239807)
    assert not isinstance(judge([board, board], target_relative_error=0.005), Rejected)


def test_one_long_run_prints_no_spread() -> None:
    text = BOARD.replace(BOARD[BOARD.index("INFO: count=50") :].splitlines()[0] + "\n", "")
    only = window(text, 0.0)
    assert (only.samples, only.min_us, only.low_us) == (1, 1357602, 1357602)


def test_kernels_below_its_resolution_have_a_time_all_the_same() -> None:
    text = PHONE.replace("min=32641", "min=0").replace("avg=33209.4", "avg=0")
    assert 0 < window(text, 0.0).low_us < 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello",
        PHONE.replace("Inference timings", "Interrupted"),
        PHONE.replace("count=", "counted="),
        PHONE.replace("count=50", "count=0"),
        PHONE.replace("avg=33209.4", "avg=-3"),
        PHONE.replace("avg=33209.4", "avg=1e30"),
        PHONE.replace("avg=33209.4", "avg=1-2"),
        PHONE.replace("min=32641", "min=1e400"),
        PHONE.replace("avg=33209.4 std=450", "std=450").replace("curr=33978 ", ""),
    ],
)
def test_what_it_never_prints_is_refused(text: str) -> None:
    if "count=15" in text and "count=50" not in text and "count=0" not in text:
        text = text.replace("count=15 first", "first")
    with pytest.raises(ValueError, match=r".+"):
        window(text, 0.0)


@given(st.text(alphabet="count=0123456789 .e+-minavg\n", max_size=200))
def test_no_output_is_anything_but_a_window_or_refused(text: str) -> None:
    try:
        found = window(f"{text}\nInference timings in us: ", 0.0)
    except ValueError:
        return
    assert 0 < found.min_us <= found.low_us
