"""`adapt run --target-accuracy`: the least cost at an accuracy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Adapt, Finished, Warm

USAGE, UNREACHABLE = 2, 3
TARGET = 0.95
# No device, for speed: what is minimised here is counted.
ASKED = (
    *("--device", "eyeriss", "--target-accuracy", str(TARGET), "--minimise", "macs"),
    *(
        "--first-step=0.7",
        "--trial-steps=4",
        "--short-steps=2",
        "--settling-steps=2",
        "--long-steps=101",
    ),
    *("--batch", "16"),
)

Targeted = tuple["Adapt", Path, "Finished"]


def result(job: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((job / "job.json").read_text())["result"]
    return values


@pytest.fixture(scope="module")
def targeted(tmp_path_factory: pytest.TempPathFactory, warm: Warm, modelled: Targeted) -> Targeted:
    """A complete job."""
    adapt = type(modelled[0])(tmp_path_factory.mktemp("targeted"), warm)
    finished = adapt.quick("run", *adapt.DEMO, *ASKED)
    assert finished.code == 0, finished.err
    return adapt, adapt.jobs / "digits-1", finished


def test_the_accuracy_is_kept(targeted: Targeted) -> None:
    found = result(targeted[1])
    original, adapted = found["networks"]
    assert adapted["holdout_accuracy"] >= TARGET
    macs = [network["cost"]["macs"]["exact"] for network in (original, adapted)]
    assert macs[1] < 0.5 * macs[0]
    assert found["limits"] == {}


def test_it_is_the_cheapest_of_the_family(targeted: Targeted) -> None:
    """All narrower ones that were found were fine-tuned to their end, and missed it."""
    found = result(targeted[1])
    target, adapted = found["target"], found["networks"][1]
    judged = {int(number): accuracy for number, accuracy in target["judged"].items()}
    assert target["minimised"] == ["macs"]
    assert judged[target["iteration"]] == adapted["holdout_accuracy"]
    narrower = [p["number"] for p in found["history"] if p["number"] > target["iteration"]]
    assert narrower
    assert all(judged[number] < TARGET for number in narrower)
    chosen = found["history"][target["iteration"]]
    assert adapted["widths"] == {name: len(kept) for name, kept in chosen["keep"].items()}
    assert adapted["steps_trained"] == 101 + 4 * target["iteration"]


def test_it_is_told(targeted: Targeted) -> None:
    _, job, finished = targeted
    assert "of the original's, hold-out" in finished.err
    assert f"keeps {TARGET:.1%}" in finished.err
    assert f"misses {TARGET:.1%}" in finished.err
    assert "least macs at an accuracy of 95.00% on the Eyeriss chip" in finished.out
    page = (job / "report.html").read_text()
    assert "Accuracy kept, on the held-out examples" in page
    assert "Fine-tuned to the end" in page
    assert "--target-accuracy 0.95 --minimise macs" in page


def test_a_job_that_was_cut_short_goes_on(targeted: Targeted, tmp_path: Path) -> None:
    """As if killed in the last long fine-tune: it ends with the same bytes."""
    adapt, job, _ = targeted
    cut = tmp_path / "cut"
    shutil.copytree(job, cut)
    number = result(job)["target"]["iteration"]
    *_, last = sorted((cut / "journal" / f"trial-{number:02d}").glob("*.json"))
    for path in (last, last.with_suffix(".npz"), cut / "adapted.tflite"):
        path.unlink()
    values = json.loads((cut / "job.json").read_text())
    (cut / "job.json").write_text(json.dumps({**values, "result": None}))
    resumed = adapt.quick("resume", cut)
    assert resumed.code == 0, resumed.err
    assert (cut / "adapted.tflite").read_bytes() == (job / "adapted.tflite").read_bytes()
    for key in ("target", "history", "limits"):
        assert result(cut)[key] == result(job)[key]


def test_within_a_budget(bare_adapt: Adapt) -> None:
    """First the budget, then as little as the accuracy allows; by the published procedure."""
    budget = ("--budget", "params=70%", "--method", "netadapt-paper", "--first-step", "0.3")
    few = ("--long-steps", "9", "--compare", "uniform")
    finished = bare_adapt.quick("run", *bare_adapt.DEMO, *ASKED, *budget, *few, "--json")
    assert finished.code == 0, finished.err
    found = json.loads(finished.out)
    original, adapted, uniform = found["networks"]
    assert adapted["cost"]["params"]["exact"] <= 0.7 * original["cost"]["params"]["exact"]
    assert adapted["holdout_accuracy"] >= TARGET
    assert set(found["limits"]) == {"params"}
    # The width multiplier gets no more of what was to be least.
    assert uniform["cost"]["macs"]["exact"] <= adapted["cost"]["macs"]["exact"]
    assert {"params", "macs"} >= {point["binding"] for point in found["history"][1:]}
    costs = {point["steps"]: point["cost"] for point in found["history"][1:]}
    curve = found["curves"]["uniform"]
    assert 1 <= len(curve) <= 4
    for point in curve:  # As many steps as an iteration, and no more of what it needs.
        for resource in ("params", "macs"):
            most = costs[point["steps"]][resource]["exact"]
            assert 0.5 * most <= point["cost"][resource]["exact"] <= most
        assert 0.1 < point["accuracy"] <= 1.0


def test_an_accuracy_that_nothing_narrower_keeps(bare_adapt: Adapt) -> None:
    nothing = ("--first-step=0.9", "--trial-steps=0", "--short-steps=0", "--long-steps=0")
    asked = (*ASKED, *nothing, "--settling-steps", "0", "--target-accuracy", "1")
    finished = bare_adapt.quick("run", *bare_adapt.DEMO, *asked)
    assert finished.code == UNREACHABLE
    assert "no narrower network keeps the accuracy 100.00%" in finished.err
    assert "--long-steps" in finished.err


def test_a_network_that_cannot_be_narrower(bare_adapt: Adapt, tmp_path: Path) -> None:
    import keras

    layers = [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(10, "softmax")]
    keras.Sequential(layers).save(tmp_path / "flat.keras")
    demo = ("--model", tmp_path / "flat.keras", *bare_adapt.DEMO[2:])
    finished = bare_adapt.quick("run", *demo, *ASKED, "--target-accuracy", "0.001")
    assert finished.code == UNREACHABLE, finished.err
    assert "no network of less macs than the original" in finished.err


def test_more_than_the_original_has(bare_adapt: Adapt, tmp_path: Path) -> None:
    """Every tenth label is wrong here; no folder stays behind."""
    (tmp_path / "doubtful.py").write_text(
        "import tensorflow as tf\nfrom adapt.demo import digits_arrays\n"
        "def digits():\n"
        "    x, y, *test = digits_arrays()\n"
        "    y[::10] = (y[::10] + 1) % 10\n"
        "    return tuple(tf.data.Dataset.from_tensor_slices(p) for p in ((x, y), tuple(test)))\n"
    )
    demo = (*bare_adapt.DEMO[:2], "--data", "doubtful:digits")
    finished = bare_adapt.quick("run", *demo, *ASKED, "--target-accuracy", "0.99")
    assert finished.code == UNREACHABLE, finished.err
    assert "is more than the original network has" in finished.err
    assert not list(bare_adapt.jobs.iterdir())


@pytest.mark.parametrize(
    ("options", "mentions"),
    [
        (["--target-accuracy", "90"], ["--target-accuracy 90", "as 0.9"]),
        (["--target-accuracy", "0"], ["--target-accuracy 0"]),
        (["--target-accuracy", "nan"], ["--target-accuracy nan"]),
        (["--target-accuracy", "0.9", "--minimise", "speed"], ["'speed'", "latency, energy"]),
        (["--target-accuracy", "0.9", "--minimise", "latency@pi"], ["'latency@pi'"]),
        (["--target-accuracy", "0.9", "--method", "uniform"], ["--compare uniform"]),
        (["--budget", "macs=50%", "--minimise", "macs"], ["--target-accuracy as well"]),
        ([], ["--budget", "--target-accuracy"]),
    ],
)
def test_what_makes_no_sense(bare_adapt: Adapt, options: list[str], mentions: list[str]) -> None:
    finished = bare_adapt.quick("run", *bare_adapt.DEMO, *options)
    assert finished.code == USAGE, finished.err
    for words in mentions:
        assert words in finished.err
