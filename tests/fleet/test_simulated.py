"""Simulated devices: their times, their faults, and what a user sees of both."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from adapt.cli import main
from adapt.errors import DeviceError, InputError, UsageError
from adapt.fleet.claim import claimed
from adapt.fleet.client import AgentClient
from adapt.fleet.device import MeasureOptions, ModelFile, Status
from adapt.fleet.link import Gone
from adapt.fleet.simulated import SimulatedDevice, profile_file
from adapt.fleet.simulated.profile import Latency, absolute_name, read_profile
from adapt.tflite.reader import read_kernels
from adapt.tflite.writer import null_kernel, write_kernel
from lookup_tables.quality import Accepted, judge

OPTIONS = MeasureOptions(target_relative_error=0.05)


@pytest.fixture
def simulate(tmp_path: Path) -> Callable[[str], SimulatedDevice]:
    """A device of a profile with this text."""

    def start(text: str) -> SimulatedDevice:
        file = tmp_path / "odd.toml"
        file.write_text(text)
        return SimulatedDevice("simulated:odd", profile_file(str(file)))

    return start


def models(content: bytes, count: int) -> list[ModelFile]:
    return [ModelFile(f"m{number}", content) for number in range(count)]


def latency(device: SimulatedDevice, content: bytes) -> float:
    """Accepted, microseconds."""
    outcome = device.measure(models(content, 1), OPTIONS).outcomes["m0"]
    verdict = judge(outcome.windows, target_relative_error=OPTIONS.target_relative_error)
    assert isinstance(verdict, Accepted)
    return verdict.latency_us


def test_a_network_takes_as_long_as_its_kernels(small_model: bytes) -> None:
    profile = read_profile(profile_file("phone"))
    expected = profile.latency.of_kernels(list(read_kernels(small_model)))
    with SimulatedDevice("simulated:phone", profile_file("phone")) as device:
        assert latency(device, small_model) == pytest.approx(expected, rel=0.02)
        call = latency(device, write_kernel(null_kernel()))
        assert call == pytest.approx(profile.latency.call_us, rel=0.05)
        damaged = device.measure(models(b"damaged", 1), OPTIONS).outcomes["m0"]
        assert damaged.status is Status.REFUSED


def test_time_goes_by_tiles_of_channels_and_by_the_cache(small_model: bytes) -> None:
    kernels = list(read_kernels(small_model))
    plain = Latency(tile=1).of_kernels(kernels)
    assert Latency(tile=4).of_kernels(kernels) == plain  # Its widths are 12 and 64.
    assert Latency(tile=48).of_kernels(kernels) > plain
    assert Latency(tile=1, cache_bytes=1000).of_kernels(kernels) > plain


def test_it_is_a_platform_of_its_own(simulate: Callable[[str], SimulatedDevice]) -> None:
    with simulate("") as plain:
        before = plain.platform("xnnpack", 1)
        assert before.runtime == "simulated"
    with simulate("[latency]\ngmacs = 2") as slower:
        assert slower.platform("xnnpack", 1) != before


def test_throttling(simulate: Callable[[str], SimulatedDevice], small_model: bytes) -> None:
    with simulate("[faults]\nthrottle_after = 1\nthrottle_factor = 3") as device:
        first, second = latency(device, small_model), latency(device, small_model)
    assert second == pytest.approx(3 * first, rel=0.02)


@pytest.mark.parametrize("fault", ["nan_after", "wrong_after"])
def test_answers_that_make_no_sense(
    simulate: Callable[[str], SimulatedDevice], small_model: bytes, fault: str
) -> None:
    with simulate(f"[faults]\n{fault} = 2") as device:
        assert len(device.measure(models(small_model, 2), OPTIONS).outcomes) == 2
        with pytest.raises(DeviceError, match=r"makes no sense|nonsense"):
            device.measure(models(small_model, 1), OPTIONS)


def test_vanishing(simulate: Callable[[str], SimulatedDevice], small_model: bytes) -> None:
    with (
        simulate("[faults]\nvanish_after = 3") as device,
        pytest.raises(Gone, match=r"exit status 1; its last words:\n +simulated: vanishing"),
    ):
        device.measure(models(small_model, 5), OPTIONS)


def test_hanging(
    simulate: Callable[[str], SimulatedDevice],
    small_model: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapt.fleet.local.CLOSE_SECONDS", 0.1)
    with simulate("[faults]\nhang_after = 3") as device:
        assert device._client is not None
        # The intervals of real use are 10 s and 5 s.
        impatient = AgentClient(
            "simulated:odd",
            f"unix:{device._folder.name}/socket",
            device._client._metadata[0][1].removeprefix("Bearer "),
            keepalive_ms=1000,
            ping_timeout_ms=500,
        )
        with pytest.raises(Gone, match="stopped answering"):
            impatient.measure(models(small_model, 5), OPTIONS)
        impatient.close()


def test_a_slow_link(simulate: Callable[[str], SimulatedDevice], small_model: bytes) -> None:
    with simulate("[faults]\nslow_ms = 100") as device:
        begin = time.monotonic()
        device.measure(models(small_model, 3), OPTIONS)
        assert time.monotonic() - begin >= 0.4


def test_one_that_vanishes_now_and_then_is_waited_for(
    tmp_path: Path, small_model: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shaky.toml").write_text("[faults]\nvanish_after = 3")
    with claimed(f"simulated:{tmp_path}/shaky.toml", home=tmp_path) as device:
        for _ in range(3):
            assert len(device.measure(models(small_model, 2), OPTIONS).outcomes) == 2
    assert "is back" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "mention"),
    [
        ("[latency", "is not TOML"),
        ("[speed]", "unknown part 'speed'"),
        ("latency = 3", "latency is no table"),
        ("[latency]\nfast = 1", r"latency\.fast is unknown"),
        ("[latency]\ngmacs = '3'", r"latency\.gmacs is no number"),
        ("[latency]\ngmacs = true", r"latency\.gmacs is no number"),
        ("[latency]\ngmacs = 0", r"latency\.gmacs is 0"),
        ("[latency]\ngmacs = nan", r"latency\.gmacs is nan"),
        ("[faults]\nslow_ms = 1e13", r"faults\.slow_ms is"),
        ("#" + "x" * 70_000, "more than"),
    ],
)
def test_profiles_that_are_none(tmp_path: Path, text: str, mention: str) -> None:
    (tmp_path / "p.toml").write_text(text)
    with pytest.raises(InputError, match=mention):
        profile_file(str(tmp_path / "p.toml"))


def test_profiles_that_are_not_there(tmp_path: Path) -> None:
    for name in ("toaster", "../profile", str(tmp_path / "p.toml")):
        with pytest.raises(UsageError, match="no profile"):
            profile_file(name)


def test_as_a_user_types_it(tmp_path: Path, small_model: bytes) -> None:
    (tmp_path / "model.tflite").write_bytes(small_model)
    runner = CliRunner(env={"ADAPT_HOME": str(tmp_path)})
    arguments = ["measure", str(tmp_path / "model.tflite"), "--device"]
    result = runner.invoke(main, [*arguments, "simulated:phone", "--json"], prog_name="adapt")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)
    result = runner.invoke(main, [*arguments, "simulated:toaster"], prog_name="adapt")
    assert result.exit_code == 2
    assert "board, phone" in result.output


def test_a_profile_is_found_from_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "slow.toml").write_text("[latency]\ngmacs = 1.0\n")
    monkeypatch.chdir(tmp_path)
    name = absolute_name("simulated:slow.toml")
    monkeypatch.chdir("/")
    assert profile_file(name.removeprefix("simulated:")) == tmp_path / "slow.toml"
    for other in (name, "simulated:phone", "local", "slow.toml"):
        assert absolute_name(other) == other
