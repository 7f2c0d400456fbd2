"""The report: what it says, that it stands alone, and that nothing in it can be injected."""

from __future__ import annotations

import math
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from adapt.fleet.choice import parse_choices
from adapt.job import JobRequest, JobResult, Measured
from adapt.methods.base import Iteration
from adapt.report import write_report
from adapt.report.page import render_report

Make = Callable[..., Any]

_VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """A page as a browser takes it apart; fails where elements do not nest."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] != "style":
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of every element called `tag`."""
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        """What a reader sees, with single spaces."""
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def usual(request_of: Make, result_of: Make) -> Page:
    return Page(render_report(request_of(), result_of()))


def test_headline(usual: Page) -> None:
    assert "resnet8.h5, adapted" in usual.text
    assert "Budget met, as measured on the device" in usual.text
    assert "takes 12.5 \N{MICRO SIGN}s, 49.0% of the original's 25.5 \N{MICRO SIGN}s" in usual.text
    assert "89.00% of the test split right, the original 90.00%: 4 fewer of 400" in usual.text
    assert "reaches 86.00% at 12.2 \N{MICRO SIGN}s" in usual.text


def test_networks_side_by_side(usual: Page) -> None:
    for expected in (
        "Network original adapted uniform",
        "spread 1.0% over 3 runs",
        "2.04 times as fast",
        "\N{MINUS SIGN}2.0% against measured",
        "Multiply-accumulates 3.00 M 1.47 M 49.0% of the original",
        "400 examples, 95% interval",
        "Fine-tuning steps 0 720 720",
    ):
        assert expected in usual.text


def test_iterations_and_proposals(usual: Page) -> None:
    assert "conv2d_1 64 → 40" in usual.text
    assert "block/dense 128 → 48" in usual.text
    assert "70.0% of the original 80% measured, 20% interpolated" in usual.text
    assert "All 4 proposals" in usual.text
    assert usual.text.count("chosen") == 3  # One in the caption, one for each iteration.


def test_what_was_measured_during_the_search(request_of: Make, result_of: Make) -> None:
    *first, last = result_of().history
    price = sum(last.cost["latency"].values())
    last = last.model_copy(update={"measured": {"latency": {"measured": 0.98 * price}}})
    page = Page(render_report(request_of(), result_of(history=[*first, last])))
    assert page.text.count("\N{MINUS SIGN}2.0% measured as a whole") == 1


def test_the_rest_of_the_story(usual: Page) -> None:
    for expected in (
        "attention (MultiHeadAttention): its channels mix",
        "family/iteration-01.keras",
        "family/iteration-02.keras",
        "--budget latency=17.50us",
        "train 1,200, holdout 100, test 400",
        "ab" * 32,
        "345 that the table lacked",
    ):
        assert expected in usual.text


def test_int8_states_both_accuracies(request_of: Make, result_of: Make, network_of: Make) -> None:
    networks = [
        network_of("original", 1.0, 0.885, float_test_accuracy=0.9, float_holdout_accuracy=0.91),
        network_of("adapted", 0.49, 0.875, float_test_accuracy=0.89, float_holdout_accuracy=0.92),
    ]
    result = result_of(networks=networks, precision="int8")
    page = Page(render_report(request_of(quantize="int8"), result))
    assert "Its int8 file classifies 87.50%" in page.text
    for row in (
        r"Test accuracy, int8 \.tflite .* 88\.50% .* 87\.50%",
        r"Test accuracy in float32 before quantisation 90\.00% .* 89\.00%",
        r"Hold-out accuracy, int8 \.tflite .* 89\.50% .* 88\.50%",
        r"Hold-out accuracy in float32 before quantisation 91\.00% .* 92\.00%",
        r"those only tried scored in float32, the others in int8",
    ):
        assert re.search(row, page.text), row
    assert "in float32" not in Page(render_report(request_of(), result_of())).text


def test_stands_alone(request_of: Make, result_of: Make) -> None:
    html = render_report(request_of(), result_of())
    assert not re.search(r"https?:|//[a-z]|@import|<script|javascript:|\son\w+=", html, re.I)
    page = Page(html)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "img", "link", "iframe", "object", "image", "a"}
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = re.findall(r"url\((.*?)\)|href=\"(.*?)\"|labelledby=\"(.*?)\"", html)
    assert targets
    assert {"".join(target).removeprefix("#") for target in targets} <= set(ids)


def test_figures_and_tables_are_accessible(usual: Page) -> None:
    figures = usual.all("svg")
    assert len(figures) == len(usual.all("figure")) == 4
    for figure in figures:
        assert figure["role"] == "img"
        assert len(figure["aria-label"] or "") > 40
    assert len(usual.all("caption")) == len(usual.all("table")) == 4
    assert {header.get("scope") for header in usual.all("th")} == {"col", "row"}
    assert usual.all("html")[0]["lang"] == "en"


def test_every_colour_follows_the_scheme(request_of: Make, result_of: Make) -> None:
    html = render_report(request_of(), result_of())
    for svg in re.findall(r"<svg.*?</svg>", html, re.S):
        assert "var(--" in svg
        assert not re.search(r"(?:fill|stroke|color)[:=]\s*\"?#", svg)


def test_equal_results_give_equal_bytes(request_of: Make, result_of: Make) -> None:
    first = render_report(request_of(), result_of())
    assert first == render_report(request_of(), result_of())
    again = JobResult.model_validate_json(result_of().model_dump_json())
    assert first == render_report(request_of(), again)
    assert first != render_report(request_of(), result_of(kernels_measured=346))


EVIL = """<script>alert(1)</script>"'&{{ 7 * 7 }}$x^$]]>"""


def test_nothing_can_be_injected(
    request_of: Make, result_of: Make, network_of: Make, iteration_of: Make
) -> None:
    name = EVIL.replace("/", "")
    widths = {EVIL: 8, "\x00\x1b\n日本": 4}
    networks = [network_of(kind, 1.0, 0.9, widths=widths) for kind in ("original", "adapted", EVIL)]
    result = result_of(
        networks=networks,
        history=[iteration_of(0, "", widths, 1.0), iteration_of(1, EVIL, {**widths, EVIL: 4}, 0.5)],
        platforms={"pixel": EVIL},
        kept_whole=[EVIL],
        seconds={EVIL: 5.0, f"{EVIL} search": 4.0},
        examples={EVIL: 5},
    )
    request = request_of(model=Path("/m") / name, data=EVIL)
    plain = Page(render_report(request_of(), result_of()))
    page = Page(render_report(request, result))
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in plain.elements}
    assert not any(a.startswith("on") for _, attributes in page.elements for a in attributes)
    assert name in page.text
    # Platform, data, kept whole, examples, table head, width changes and more.
    assert page.text.count(EVIL) >= 8


def _odd(latency_us: float, spread: float = math.nan) -> Measured:
    return Measured(sha256="", latency_us=latency_us, relative_error=spread, runs=0)


def _only_uniform(request_of: Make, result_of: Make, iteration_of: Make, network_of: Make) -> Any:
    point = iteration_of(1, "", {"conv2d": 16, "conv2d_1": 32, "block/dense": 64}, 0.5)
    point = point.model_copy(update={"group": "all", "cost": {"macs": {"exact": 1.5e6}}})
    networks = [network_of("original", 1.0, 0.9), network_of("adapted", 0.5, 0.8)]
    result = result_of(limits={"macs": 1.5e6}, history=[point], networks=networks)
    return request_of(method="uniform", budget=["macs=50%"], compare=[]), result


def _no_history(request_of: Make, result_of: Make, *_: Make) -> Any:
    return request_of(), result_of(history=[], seconds={}, examples={}, kept_whole=[])


def _nothing_known(request_of: Make, result_of: Make, iteration_of: Make, network_of: Make) -> Any:
    networks = [
        network_of(
            name,
            1.0,
            math.nan,
            measured={"latency": _odd(latency)},
            cost={"latency": {"measured": math.nan}},
            test_loss=math.inf,
            widths={},
        )
        for name, latency in (("original", 0.0), ("adapted", math.nan), ("uniform", math.inf))
    ]
    first: Iteration = iteration_of(1, "conv2d", {"conv2d": 8}, math.nan)
    first = first.model_copy(update={"accuracy": math.nan, "loss": math.nan})
    seconds = {"search": math.nan, "finish": 0.0}
    return request_of(), result_of(networks=networks, history=[first], seconds=seconds)


def _energy(request_of: Make, result_of: Make, iteration_of: Make, *_: Make) -> Any:
    history = [
        iteration_of(n, "conv2d", {"conv2d": 32 // (n + 1)}, 1.0).model_copy(
            update={"cost": {"energy": {"analytic": 100.0 / (n + 1)}}}
        )
        for n in range(3)
    ]
    return request_of(budget=["energy=40%"]), result_of(limits={"energy": 40.0}, history=history)


def _two_limits(request_of: Make, result_of: Make, *_: Make) -> Any:
    request = request_of(budget=["latency=10us", "macs=2M"])
    return request, result_of(limits={"latency": 10.0, "macs": 2e6})


def _no_device(request_of: Make, result_of: Make, *_: Make) -> Any:
    told = "analytic: by the model"
    networks = [
        each.model_copy(
            update={
                "measured": {},
                "cost": {
                    **each.cost,
                    "latency": {"analytic": 50 * scale},
                    "energy": {"analytic": 80 * scale},
                },
            }
        )
        for each, scale in zip(result_of().networks, (1.0, 0.5, 0.5), strict=True)
    ]
    result = result_of(
        platforms={"eyeriss": "a chip, by its model"},
        told_by={"latency": told, "energy": told},
        networks=networks,
        limits={"energy": 44.0},
        kernels_measured=0,
    )
    return request_of(budget=["energy=55%"], devices=parse_choices(["eyeriss"], {})), result


@pytest.mark.parametrize(
    ("job", "expected"),
    [
        (_only_uniform, "Budget met, as counted"),
        (_no_history, "Budget met, as measured on the device"),
        (_nothing_known, "Budget not verified"),
        (_energy, "Budget met, as told by an analytic model"),
        (_no_device, "Budget met, as told by an analytic model"),
        (_two_limits, "Budget missed"),
    ],
)
def test_odd_jobs_render(
    job: Make,
    expected: str,
    request_of: Make,
    result_of: Make,
    iteration_of: Make,
    network_of: Make,
) -> None:
    request, result = job(request_of, result_of, iteration_of, network_of)
    page = Page(render_report(request, result))
    assert expected in page.text
    spoken = " ".join(figure["aria-label"] or "" for figure in page.all("svg"))
    assert not re.search(r"\b(nan|inf|none|null)\b", f"{page.text} {spoken}", re.I)


def test_a_method_of_one_network_has_no_family(
    request_of: Make, result_of: Make, iteration_of: Make, network_of: Make
) -> None:
    page = Page(render_report(*_only_uniform(request_of, result_of, iteration_of, network_of)))
    assert "Another point of the curve" not in page.text
    assert "conv2d 32 → 16; conv2d_1 64 → 32; block/dense 128 → 64" in page.text


def test_written_whole_or_not_at_all(
    tmp_path: Path, request_of: Callable[..., JobRequest], result_of: Callable[..., JobResult]
) -> None:
    path = tmp_path / "report.html"
    path.write_text("the report before")
    with pytest.raises(KeyError, match="original"):
        write_report(path, request_of(), result_of(networks=[]))
    assert path.read_text() == "the report before"
    write_report(path, request_of(), result_of())
    assert path.read_text().rstrip().endswith("</html>")
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_drawn_before_there_is_a_report() -> None:
    code = (
        "import sys, adapt.cli\n"
        "assert 'matplotlib' not in sys.modules\n"
        "import adapt.report\n"  # Keras brings matplotlib along, so ask for what draws with it.
        "assert not {'adapt.drawing', 'adapt.report.plots'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_job_with_no_device_says_so_throughout(request_of: Make, result_of: Make) -> None:
    page = render_report(*_no_device(request_of, result_of))
    assert "Nothing was measured: on a chip, by its model, the adapted network takes" in page
    assert "25 \N{MICRO SIGN}s, 50.0% of the original" in page
    assert "40 \N{MICRO SIGN}J, 50.0% of the original" in page
    assert "Latency, modelled" in page
    assert "100.0% analytic" in page
    assert page.count("analytic: by the model") == 2
    for claim in ("measured on the device", "timed side by side", "Kernels measured"):
        assert claim not in page
