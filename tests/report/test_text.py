"""The summary in the terminal."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapt.job import Measured
from adapt.report import summary
from adapt.report.page import render_report
from adapt.report.values import UNKNOWN

Make = Callable[..., Any]


def test_says_the_verdict_the_networks_and_the_files(request_of: Make, result_of: Make) -> None:
    lines = summary(request_of(), result_of(), Path("jobs/resnet8-1")).splitlines()
    assert lines[0].startswith("budget latency=50% on Pixel 6")
    assert lines[0].endswith(": met")
    assert lines[3].split() == [
        "adapted", "12.5", "us", "49.0%", "12.2", "us", "1.47", "M", "58.8", "k", "89.00%",
    ]  # fmt: skip
    assert [line.split()[-1] for line in lines[5:]] == [
        "jobs/resnet8-1/adapted.keras",
        "jobs/resnet8-1/adapted.tflite",
        "jobs/resnet8-1/report.html",
    ]


def test_networks_too_large_to_be_timed(request_of: Make, result_of: Make) -> None:
    networks = [each.model_copy(update={"measured": {}}) for each in result_of().networks]
    text = summary(request_of(), result_of(networks=networks), Path("jobs")).splitlines()
    assert text[0].endswith(": met")
    assert text[1].split()[:4] == ["measured", "of", "original", "predicted"]
    assert text[3].split()[:5] == ["adapted", UNKNOWN, UNKNOWN, "12.2", "us"]


def test_a_page_about_them(request_of: Make, result_of: Make) -> None:
    networks = [each.model_copy(update={"measured": {}}) for each in result_of().networks]
    page = render_report(request_of(), result_of(networks=networks))
    assert "By the times of its kernels, the adapted network takes 12.2" in page
    assert "latency as predicted; hollow" in page
    assert "Latency, predicted" in page
    assert "as measured" not in page


def test_columns_line_up(request_of: Make, result_of: Make) -> None:
    table = summary(request_of(), result_of(), Path("jobs")).splitlines()[1:5]
    assert len({len(line) for line in table}) == 1


def test_accuracy_is_that_of_the_int8_file(
    request_of: Make, result_of: Make, network_of: Make
) -> None:
    networks = [
        network_of("original", 1.0, 0.885, float_test_accuracy=0.9),
        network_of("adapted", 0.49, 0.875, float_test_accuracy=0.89),
    ]
    result = result_of(networks=networks, precision="int8")
    lines = summary(request_of(quantize="int8"), result, Path("jobs")).splitlines()
    assert lines[1].endswith("test accuracy  in float32")
    assert lines[3].split()[-2:] == ["87.50%", "89.00%"]


def test_odd_values_are_dashes(request_of: Make, result_of: Make, network_of: Make) -> None:
    odd = Measured(sha256="00" * 32, latency_us=math.nan, relative_error=math.inf, runs=0)
    networks = [
        network_of("original", 1.0, 0.9, measured={"latency": odd}, cost={}),
        network_of("adapted", 0.49, math.nan),
    ]
    text = summary(request_of(), result_of(networks=networks), Path("jobs"))
    assert text.splitlines()[2].split() == ["original", "—", "—", "—", "—", "—", "90.00%"]
    assert "not known" in text.splitlines()[0]
    assert "nan" not in text.lower()
