"""`adapt run --device eyeriss`: budgets met by the analytic model alone."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Adapt, Finished

USAGE, UNREACHABLE = 2, 3
FEW_STEPS = ("--first-step", "0.3", "--short-steps", "1", "--long-steps", "101")
ON_EYERISS = "analytic: modelled on the Eyeriss chip, in its units; not measured"


def run(adapt: Adapt, budget: str, *more: str) -> Finished:
    return adapt.quick(
        "run", *adapt.DEMO, "--budget", budget, "--device", "eyeriss", *FEW_STEPS, *more
    )


def result_of(job: Path) -> Any:
    return json.loads((job / "job.json").read_text())["result"]


def test_a_budget_is_met_with_no_device(bare_adapt: Adapt) -> None:
    # An agent could not even be started.
    finished = run(bare_adapt, "energy=60%", "--agent-python", "/absent/python")
    assert finished.code == 0, finished.err
    (job,) = bare_adapt.jobs.iterdir()
    result = result_of(job)
    networks = {network["name"]: network for network in result["networks"]}
    original, adapted = (networks[name]["cost"]["energy"] for name in ("original", "adapted"))
    assert set(original) == set(adapted) == {"analytic"}
    assert adapted["analytic"] <= 0.6 * original["analytic"]
    assert {network["measured"] for network in networks.values()} == {None}
    assert result["kernels_measured"] == 0
    assert not bare_adapt.table.exists()
    assert (job / "adapted.tflite").exists()
    # Every output says what it is.
    assert finished.out.count(ON_EYERISS) == 2
    assert "budget energy=60% on the Eyeriss chip, by its analytic model" in finished.out
    page = (job / "report.html").read_text()
    assert "Budget met, as told by an analytic model" in page
    assert "Nothing was measured: on the Eyeriss chip" in page
    assert page.count(ON_EYERISS) == 2
    assert "100.0% analytic" in page
    assert "on the device" not in page.lower()
    assert re.search(r"adapt run .*--device eyeriss", page)


def test_it_resumes_with_no_device(bare_adapt: Adapt, tmp_path: Path) -> None:
    """Interrupted between two steps, it ends with the bytes of a run that was not."""
    whole = run(bare_adapt, "latency=70%", "--output", str(tmp_path / "whole"))
    assert whole.code == 0, whole.err
    running = bare_adapt.start(
        *("run", *bare_adapt.DEMO, "--budget", "latency=70%", "--device", "eyeriss"),
        *(*FEW_STEPS, "--output", tmp_path / "cut"),
    )
    running.until(lambda: list((tmp_path / "cut" / "journal").glob("*.json")))
    running.kill()
    resumed = bare_adapt.quick("resume", str(tmp_path / "cut"))
    assert resumed.code == 0, resumed.err
    networks = [(tmp_path / name / "adapted.tflite").read_bytes() for name in ("whole", "cut")]
    assert networks[0] == networks[1]
    assert not bare_adapt.table.exists()


def test_amounts_are_the_chips(bare_adapt: Adapt) -> None:
    finished = run(bare_adapt, "latency=1us")
    assert finished.code == UNREACHABLE, finished.err
    assert "Traceback" not in finished.err


def test_other_names_are_no_devices(bare_adapt: Adapt) -> None:
    finished = bare_adapt.quick(
        "run", *bare_adapt.DEMO, "--budget", "energy=60%", "--device", "tpu"
    )
    assert finished.code == USAGE
    assert "eyeriss (a model, no device)" in finished.err
