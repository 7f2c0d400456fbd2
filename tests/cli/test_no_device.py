"""`adapt run --device eyeriss`: budgets met by the analytic model alone."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Adapt, Finished

USAGE, UNREACHABLE = 2, 3
LIMITS = {"energy": 0.6, "latency": 0.9}
ON_EYERISS = "analytic: modelled on the Eyeriss chip, in its units; not measured"

Modelled = tuple["Adapt", Path, "Finished"]


def test_budgets_are_met_with_no_device(modelled: Modelled) -> None:
    adapt, job, _ = modelled
    result = json.loads((job / "job.json").read_text())["result"]
    networks = {network["name"]: network for network in result["networks"]}
    for resource, share in LIMITS.items():
        original, adapted = (networks[name]["cost"][resource] for name in ("original", "adapted"))
        assert set(original) == set(adapted) == {"analytic"}
        assert adapted["analytic"] <= share * original["analytic"]
    assert [network["measured"] for network in networks.values()] == [{}, {}]
    # Several limits at once: which one kept the network from being wider.
    assert {point["binding"] for point in result["history"][1:]} <= set(LIMITS)
    assert result["history"][-1]["binding"] == "energy"
    assert result["kernels_measured"] == 0
    assert not adapt.table.exists()
    assert (job / "adapted.tflite").exists()


def test_every_output_says_what_it_is(modelled: Modelled) -> None:
    _, job, finished = modelled
    assert (
        "on the Eyeriss chip, by its analytic model (no device, nothing measured)" in finished.out
    )
    assert finished.out.count(ON_EYERISS) == 2
    assert ", bound by energy, hold-out" in finished.err
    page = (job / "report.html").read_text()
    assert "Bound by" in page
    assert "Budget met, as told by an analytic model" in page
    assert "Nothing was measured: on the Eyeriss chip" in page
    assert page.count(ON_EYERISS) == 2
    assert "100.0% analytic" in page
    assert "on the device" not in page.lower()
    assert re.search(r"adapt run .*--device eyeriss", page)


def test_a_job_that_was_cut_short_goes_on(modelled: Modelled) -> None:
    """As if it had been killed in its last step: it ends with the same bytes."""
    adapt, job, _ = modelled
    cut = job.with_name("cut")
    shutil.copytree(job, cut)
    *_, last = sorted((cut / "journal").glob("*.json"))
    last.unlink()
    last.with_suffix(".npz").unlink()
    (cut / "adapted.tflite").unlink()
    content = json.loads((cut / "job.json").read_text())
    (cut / "job.json").write_text(json.dumps({**content, "result": None}))
    resumed = adapt.quick("resume", str(cut))
    assert resumed.code == 0, resumed.err
    assert (cut / "adapted.tflite").read_bytes() == (job / "adapted.tflite").read_bytes()
    assert not adapt.table.exists()


def test_amounts_are_the_chips(bare_adapt: Adapt) -> None:
    asked = ("run", *bare_adapt.DEMO, "--device", "eyeriss", "--budget", "latency=1us")
    finished = bare_adapt.quick(*asked)
    assert finished.code == UNREACHABLE, finished.err
    assert "Traceback" not in finished.err


def test_other_names_are_no_devices(bare_adapt: Adapt) -> None:
    asked = ("run", *bare_adapt.DEMO, "--budget", "energy=60%", "--device", "tpu")
    finished = bare_adapt.quick(*asked)
    assert finished.code == USAGE
    assert "eyeriss a model" in finished.err
