"""One budget on two platforms of this machine at once: XNNPACK's kernels and the built-in ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Adapt, Finished, Warm

USAGE, INPUT = 2, 5
DEVICES = ("--device", "local,label=fast", "--device", "local,backend=builtin,label=plain")
LATENCIES = {"latency@fast", "latency@plain"}
QUICK = (
    "--first-step=0.6",
    "--trial-steps=2",
    "--short-steps=1",
    "--settling-steps=1",
    "--long-steps=3",
)
ASKED = (*DEVICES, "--budget", "latency=75%", "--budget", "latency@plain=80%", *QUICK)
# Measured again at the end of a run on a machine that does much else.
ABOUT = 1.1
# Where its speed changes amid measuring, a ratio is wrong: whole networks are measured so often.
TURNS = 4
# Where its speed changes during the search, the nearest network is taken.
NEARLY = 1.05

Several = tuple["Adapt", Path, "Finished"]


def content(job: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((job / "job.json").read_text())
    return values


@pytest.fixture(scope="module")
def several(
    tmp_path_factory: pytest.TempPathFactory, warm: Warm, reference: tuple[Adapt, Path, Finished]
) -> Several:
    """A complete job on both; the one platform's table is there, the other's is not."""
    adapt = type(reference[0])(tmp_path_factory.mktemp("several"), warm)
    adapt.home.mkdir()
    shutil.copy(reference[0].table, adapt.table)
    finished = adapt.quick("run", *adapt.DEMO, *ASKED)
    assert finished.code == 0, finished.err
    return adapt, adapt.jobs / "digits-1", finished


def share_of_original(adapt: Adapt, job: Path, backend: str) -> float:
    """What the adapted network takes of the original's latency, measured again."""
    names = [job / f"{name}.tflite" for name in ("original", "adapted")]
    finished = adapt.quick("measure", *names, "--backend", backend, "--json")
    assert finished.code == 0, finished.err
    before, after = (each["latency_us"] for each in json.loads(finished.out)["networks"])
    return float(after / before)


def test_both_are_met_as_measured(several: Several) -> None:
    adapt, job, _ = several
    result = content(job)["result"]
    original, adapted = result["networks"]
    assert set(result["limits"]) == LATENCIES
    assert set(original["measured"]) == set(adapted["measured"]) == LATENCIES
    for name, backend, most in (
        ("latency@fast", "xnnpack", 0.75),
        ("latency@plain", "builtin", 0.8),
    ):
        before, after = (each["measured"][name]["latency_us"] for each in (original, adapted))
        shares = [after / before]
        while shares[-1] > most * ABOUT and len(shares) < TURNS:
            shares.append(share_of_original(adapt, job, backend))
        assert shares[-1] <= most * ABOUT, shares
        # As the whole network was timed during the search.
        found = sum(result["history"][-1]["measured"][name].values())
        assert found <= result["limits"][name] * NEARLY
    slow, quick = (original["measured"][f"latency@{label}"] for label in ("plain", "fast"))
    assert slow["latency_us"] > 2 * quick["latency_us"]
    assert slow["sha256"] == quick["sha256"]


def test_each_has_a_platform_and_prices_of_its_own(several: Several) -> None:
    _, job, _ = several
    platforms = content(job)["result"]["platforms"]
    assert list(platforms) == ["fast", "plain"]
    assert ", xnnpack, " in platforms["fast"]
    assert ", builtin, " in platforms["plain"]
    assert content(job)["conditions"]["platforms"] == platforms
    first, second = ((job / name).read_text() for name in ("prices.jsonl", "prices-2.jsonl"))
    assert first != second
    for point in content(job)["result"]["history"]:
        assert set(point["cost"]) == LATENCIES


def test_what_binds_is_named(several: Several) -> None:
    _, job, finished = several
    first, *others = content(job)["result"]["history"]
    assert first["binding"] == ""
    assert others
    assert {point["binding"] for point in others} <= LATENCIES
    for point in others:
        assert f", bound by {point['binding']}, hold-out" in finished.err
    assert "Bound by" in (job / "report.html").read_text()


def test_the_report_speaks_of_both(several: Several) -> None:
    _, job, finished = several
    page = (job / "report.html").read_text()
    for label in ("fast", "plain"):
        assert f"Latency on {label}, measured" in page
        assert f"Platform of {label}" in page
        assert f" {label} " in finished.out
    assert "latency=75% on fast" in page
    assert "latency@plain=80%" in page
    assert "--device local,label=fast --device local,backend=builtin,label=plain" in page


def test_a_kill_and_what_comes_after(several: Several, tmp_path: Path, warm: Warm) -> None:
    """Killed in its search; what was journalled and priced stays as it is, and the job ends."""
    adapt = type(several[0])(tmp_path, warm)
    adapt.home.mkdir()
    shutil.copy(several[0].table, adapt.table)
    job = adapt.jobs / "digits-1"
    running = adapt.start("run", *adapt.DEMO, *ASKED)
    running.until(lambda: (job / "journal" / "0001.json").exists())
    running.kill()
    before = {path.name: path.read_bytes() for path in (job / "journal").glob("*.json")}
    prices = {path.name: path.read_bytes() for path in job.glob("prices*.jsonl")}
    assert content(job)["result"] is None
    finished = adapt.quick("resume", job)
    assert finished.code == 0, finished.err
    for name, text in before.items():
        assert (job / "journal" / name).read_bytes() == text
    for name, text in prices.items():
        assert (job / name).read_bytes().startswith(text[: text.rfind(b"\n") + 1])
    result = content(job)["result"]
    assert set(result["networks"][1]["measured"]) == LATENCIES
    assert result["platforms"] == content(several[1])["result"]["platforms"]


def test_a_device_that_has_changed(several: Several, tmp_path: Path) -> None:
    """The second one is another platform than it was: the job does not go on."""
    adapt, job, _ = several
    other = tmp_path / "other"
    shutil.copytree(job, other)
    values = content(other)
    values["conditions"]["platforms"]["plain"] = "a toaster"
    (other / "job.json").write_text(json.dumps({**values, "result": None}))
    finished = adapt.quick("resume", other)
    assert finished.code == INPUT
    assert "the device plain has changed" in finished.err
    assert "it was a toaster" in finished.err


def test_a_chip_among_them(adapt: Adapt) -> None:
    """Its model answers for it; the other device is measured."""
    asked = (*DEVICES[:2], "--device", "eyeriss", "--budget", "latency@eyeriss=70%")
    finished = adapt.quick("run", *adapt.DEMO, *asked, *QUICK, "--json")
    assert finished.code == 0, finished.err
    result = json.loads(finished.out)
    original, adapted = result["networks"]
    assert set(adapted["measured"]) == {"latency@fast"}
    assert result["limits"].keys() == {"latency@eyeriss"}
    needs = adapted["cost"]["latency@eyeriss"]["analytic"]
    assert needs <= 0.7 * original["cost"]["latency@eyeriss"]["analytic"]
    assert set(result["told_by"]) == {"latency@eyeriss", "energy@eyeriss"}


@pytest.mark.parametrize(
    ("options", "mentions"),
    [
        (["--budget", "latency@pi=50%"], ["'pi', which is no --device", "fast plain"]),
        (["--budget", "macs@fast=50%"], ["macs is the same on all", "macs=50%"]),
        (["--budget", "latency=50%", "--device", "local,label=fast"], ["called fast"]),
        (["--budget", "latency=50%", "--device", "local,speed=3"], ["'speed=3'", "threads"]),
        (["--budget", "latency=50%", "--device", "toaster"], ["toaster", "adapt devices"]),
        (["--budget", "energy=50%"], ["no energy source for fast", "--energy eyeriss"]),
    ],
)
def test_what_makes_no_sense(bare_adapt: Adapt, options: list[str], mentions: list[str]) -> None:
    finished = bare_adapt.quick("run", *bare_adapt.DEMO, *DEVICES, *options)
    assert finished.code == USAGE, finished.err
    for words in mentions:
        assert words in finished.err
    assert not bare_adapt.jobs.exists() or not list(bare_adapt.jobs.iterdir())
