"""Pictures of tables: what stands in them, and that hostile names do not break them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapt.table_plots import FORMATS, draw_history, draw_steps
from adapt.tflite.ops import make_kernel
from lookup_tables import (
    Accepted,
    BatchRecord,
    ColdResult,
    Kernel,
    KernelResult,
    NullResult,
    Platform,
    Reason,
    Rejected,
    Store,
    Tensor,
)
from lookup_tables.exchange import Row, merge
from lookup_tables.survey import history, steps

PLATFORM = Platform("Pixel 6", "Tensor", "SP1A", "litert", "2.3.0", "00ff", "xnnpack", 1)
NULL = NullResult((), Accepted(0.5, 0.01, 2))
OUT = 1  # the second axis of a dense layer's family


def dense(units: int, inputs: int = 8) -> Kernel:
    operands = [
        Tensor("float32", (1, inputs)),
        Tensor("float32", (units, inputs), constant=True),
        Tensor("float32", (units,), constant=True),
    ]
    output = Tensor("float32", (1, units))
    return make_kernel("FULLY_CONNECTED", operands, [output], fused_activation_function="RELU")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    moments = iter(range(1_700_000_000, 1_800_000_000, 86_400))
    with Store(tmp_path / "table.db", clock=lambda: float(next(moments))) as opened:
        yield opened


def record(store: Store, *times: tuple[Kernel, float], platform: Platform = PLATFORM) -> None:
    """A batch of hot times, microseconds."""
    results = tuple(KernelResult(k, (), Accepted(us, 0.01, 2)) for k, us in times)
    store.record_batch(platform, BatchRecord(1.0, null=NULL, kernels=results))


def record_cold(store: Store, kernel: Kernel, us: float) -> None:
    cold = ColdResult(kernel, 9, (), Accepted(us, 0.01, 2))
    store.record_batch(PLATFORM, BatchRecord(1.0, cold=(cold,)))


def bring(
    store: Store, kernel: Kernel, us: float, source: str, platform: Platform = PLATFORM
) -> None:
    """An import."""
    row = Row(platform, kernel, us, 0.02, 0.5, 1_700_050_000.0, source, us * 1.5, 0.01)
    merge(store, [row], 1_800_000_000.0)


def texts(path: Path) -> list[str]:
    return [element.text or "" for element in ET.parse(path).iter() if element.tag.endswith("text")]


def marks(path: Path) -> int:
    """How many marks a figure has: those of its curves, error bars and legend, not of its axes."""
    root = ET.parse(path).getroot()
    ticks = [g for g in root.iter() if (g.get("id") or "").startswith(("xtick", "ytick"))]
    return _uses(root) - sum(map(_uses, ticks))


def _uses(element: ET.Element) -> int:
    return sum(1 for each in element.iter() if each.tag.endswith("use"))


def drawn_history(store: Store, kernel: Kernel, path: Path, platform: Platform = PLATFORM) -> Path:
    draw_history(path, platform, kernel, history(store, platform, kernel))
    return path


def test_a_history_tells_measurements_imports_and_rejections_apart(
    store: Store, tmp_path: Path
) -> None:
    for us in (10.0, 10.2, 10.1):
        record(store, (dense(4), us))
    record_cold(store, dense(4), 13.0)
    for _ in range(2):
        failed = KernelResult(dense(4), (), Rejected(Reason.HUNG, "30 s"))
        store.record_batch(PLATFORM, BatchRecord(1.0, kernels=(failed,)))
    bring(store, dense(4), 9.0, "alice")
    said = texts(drawn_history(store, dense(4), tmp_path / "history.svg"))
    assert {
        "measured",
        "measured with cold weights",
        "imported with cold weights",
        "imported from alice",
        "rejected (2)",
        "the table's answer",
        "FULLY_CONNECTED, float32: 1x8 \N{RIGHTWARDS ARROW} 1x4",
        "latency (\N{MICRO SIGN}s)",
        "date of the measurement (UTC)",
        f"on {PLATFORM}",
    } <= set(said)
    (below,) = (text for text in said if text.startswith(dense(4).key[:12]))
    assert below.endswith("weights 4x8; fused_activation_function=RELU")


def test_each_observation_has_its_mark(store: Store, tmp_path: Path) -> None:
    record(store, (dense(4), 10.0))
    few = marks(drawn_history(store, dense(4), tmp_path / "few.svg"))
    for us in (10.1, 10.2, 10.3):
        record(store, (dense(4), us))
    more = marks(drawn_history(store, dense(4), tmp_path / "more.svg"))
    # A point and the two caps of its error bar.
    assert more == few + 3 * 3


def test_what_is_not_there_is_not_in_the_legend(store: Store, tmp_path: Path) -> None:
    record(store, (dense(4), 10.0))
    said = " ".join(texts(drawn_history(store, dense(4), tmp_path / "history.svg")))
    assert "measured" in said
    for absent in ("cold", "imported", "rejected"):
        assert absent not in said


def test_rejections_alone_are_a_picture(store: Store, tmp_path: Path) -> None:
    failed = KernelResult(dense(4), (), Rejected(Reason.CRASHED, "signal 11"))
    store.record_batch(PLATFORM, BatchRecord(1.0, kernels=(failed,)))
    said = texts(drawn_history(store, dense(4), tmp_path / "history.svg"))
    assert "rejected (1)" in said
    assert "measured" not in said


def test_many_sources_share_a_mark(store: Store, tmp_path: Path) -> None:
    for number in range(9):
        bring(store, dense(4), 9.0 + number, f"colleague {number}")
    said = texts(drawn_history(store, dense(4), tmp_path / "history.svg"))
    imported = [text for text in said if text.startswith("imported from")]
    assert imported == [f"imported from colleague {n}" for n in range(5)] + [
        "imported from 4 others"
    ]


def test_a_staircase_is_of_one_family_and_axis(store: Store, tmp_path: Path) -> None:
    times = [(dense(units), 5.0 + units // 8) for units in (4, 8, 12, 16)]
    record(store, *times, (dense(4, inputs=9), 50.0), (dense(12, inputs=7), 60.0))
    record_cold(store, dense(8), 9.0)
    bring(store, dense(8), 6.5, "alice")
    bring(store, dense(20), 8.0, "bob")
    seen = steps(store, PLATFORM, dense(8), OUT)
    assert [(s.channels, s.row.latency_us, s.row.source, s.answers) for s in seen] == [
        (4, 4.5, "", True),
        (8, 5.5, "", True),
        (8, 6.5, "alice", False),
        (12, 5.5, "", True),
        (16, 6.5, "", True),
        (20, 8.0, "bob", True),
    ]
    assert [s.row.cold_us for s in seen] == [None, 9.0, 9.75, None, None, 12.0]
    by_input = steps(store, PLATFORM, dense(4), 0)
    assert [(s.channels, s.row.latency_us) for s in by_input] == [(8, 4.5), (9, 49.5)]
    draw_steps(tmp_path / "steps.svg", PLATFORM, dense(8), "out", seen)
    assert {
        "measured",
        "measured with cold weights",
        "imported with cold weights",
        "imported from alice",
        "imported from bob",
        "the kernel asked for",
        "output channels",
        "FULLY_CONNECTED, float32: time over output channels",
    } <= set(texts(tmp_path / "steps.svg"))


def test_a_kernel_without_a_family_has_no_steps(store: Store) -> None:
    shape = make_kernel("SHAPE", [Tensor("float32", (1, 4))], [Tensor("int32", (2,))])
    record(store, (shape, 5.0))
    assert steps(store, PLATFORM, shape, 0) == []


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("case", [str.lower, str.upper])
def test_both_formats(store: Store, tmp_path: Path, suffix: str, case: type[str]) -> None:
    record(store, (dense(4), 10.0))
    path = tmp_path / case(f"picture{suffix}")
    content = drawn_history(store, dense(4), path).read_bytes()
    assert content.startswith(b"\x89PNG\r\n" if suffix == ".png" else b"<?xml")
    draw_steps(path, PLATFORM, dense(4), "out", steps(store, PLATFORM, dense(4), OUT))
    assert path.read_bytes() != content


def test_equal_tables_give_equal_pictures(store: Store, tmp_path: Path) -> None:
    record(store, (dense(4), 10.0))
    first, second = tmp_path / "first.svg", tmp_path / "second.svg"
    for path in (first, second):
        drawn_history(store, dense(4), path)
    assert first.read_bytes() == second.read_bytes()


def test_names_from_elsewhere_do_not_break_a_picture(store: Store, tmp_path: Path) -> None:
    odd = Platform("\x1b手机 $x^2$ <svg>", "&" * 300, "a\nb", "r", "1", "00", "xnnpack", 1)
    record(store, (dense(4), 10.0), platform=odd)
    bring(store, dense(4), 9.0, "a" * 100, platform=odd)
    for path in (tmp_path / "history.svg", tmp_path / "history.png"):
        drawn_history(store, dense(4), path, odd)
    said = texts(tmp_path / "history.svg")
    assert any("手机 $x^2$ <svg>" in text for text in said)
    assert max(map(len, said)) <= 104


def test_uncertain_times_stay_on_the_picture(store: Store, tmp_path: Path) -> None:
    vague = KernelResult(dense(4), (), Accepted(1.0, 1e6, 2))
    store.record_batch(PLATFORM, BatchRecord(1.0, null=NULL, kernels=(vague,)))
    said = texts(drawn_history(store, dense(4), tmp_path / "history.svg"))
    ticks = [float(text) for text in said if text.replace(".", "").isdigit() and "." in text]
    assert min(ticks) == 0
    assert max(ticks) < 2


def test_what_was_drawn_before_stays_where_drawing_fails(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(store, (dense(4), 10.0))
    path = drawn_history(store, dense(4), tmp_path / "history.svg")
    before = path.read_bytes()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    with pytest.raises(OSError, match="No space"):
        drawn_history(store, dense(4), path)
    assert path.read_bytes() == before
    assert not list(tmp_path.glob("*.part"))
