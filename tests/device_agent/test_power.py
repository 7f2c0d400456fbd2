"""Energy meters on recorded file layouts, vendors' wrong units and signs included."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from device_agent.power import FalsifiedError, Meter, MeterError, Recorder, Sample, find_meters
from device_agent.power.counters import parse_rails
from device_agent.power.meter import MAX_GAP_NS, counter_trace, power_trace, smallest_step

MS = 1_000_000

PIXEL = {
    "sys/bus/iio/devices/iio:device0/name": "s2mpg10-odpm\n",
    "sys/bus/iio/devices/iio:device0/enabled_rails": "CH3[S4M_VDD_CPUCL0]:CPU(LITTLE)\n",
    "sys/bus/iio/devices/iio:device0/energy_value": "t=358356\n"
    "CH0(T=358356)[S10M_VDD_TPU], 9000000\n"
    "CH3(T=358356)[S3M_VDD_CPUCL1], 400000\n"
    "CH4(T=358356)[S4M_VDD_CPUCL0], 500000\n",
    "sys/bus/iio/devices/iio:device1/name": "s2mpg11-odpm\n",
    "sys/bus/iio/devices/iio:device1/energy_value": "t=358360\n"
    "CH3(T=358356)[S2M_VDD_CPUCL2], 761330\n"
    "CH7(T=358356)[S8S_VDD_G3D_L2], 1111\n",
    "sys/bus/iio/devices/iio:device2/name": "bmp380\n",
    "sys/bus/iio/devices/iio:device2/energy_value": "t=1\nCH0(T=1)[VDD_CPU_FAKE], 5\n",
}

PHONE = {
    "sys/class/power_supply/battery/type": "Battery\n",
    "sys/class/power_supply/battery/status": "Discharging\n",
    "sys/class/power_supply/battery/current_now": "-412000\n",
    "sys/class/power_supply/battery/voltage_now": "3850000\n",
    "sys/class/power_supply/battery/charge_counter": "2800000\n",
    "sys/class/power_supply/usb/type": "USB\n",
    "sys/class/power_supply/usb/online": "0\n",
    "sys/class/power_supply/wireless/type": "Wireless\n",
    "sys/class/power_supply/wireless/online": "0\n",
}

SERVER = {
    "sys/class/powercap/intel-rapl:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl:0/energy_uj": "1000\n",
    "sys/class/powercap/intel-rapl:0/max_energy_range_uj": "262143328850\n",
    "sys/class/powercap/intel-rapl:0:0/name": "core\n",
    "sys/class/powercap/intel-rapl:0:0/energy_uj": "700\n",
    "sys/class/powercap/intel-rapl:1/name": "package-1\n",
    "sys/class/powercap/intel-rapl:1/energy_uj": "2000\n",
    "sys/class/powercap/intel-rapl:1/max_energy_range_uj": "65532610987\n",
    "sys/class/powercap/intel-rapl:2/name": "psys\n",
    "sys/class/powercap/intel-rapl:2/energy_uj": "9000\n",
    "sys/class/powercap/intel-rapl-mmio:0/name": "package-0\n",
    "sys/class/powercap/intel-rapl-mmio:0/energy_uj": "1000\n",
}

BOARD = {
    "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
    "sys/class/hwmon/hwmon0/temp1_input": "48000\n",
    "sys/class/hwmon/hwmon1/name": "ina226\n",
    "sys/class/hwmon/hwmon1/label": "VDD_5V_IN\n",
    "sys/class/hwmon/hwmon1/power1_input": "2375000\n",
    "sys/class/hwmon/hwmon2/name": "ina219\n",
    "sys/class/hwmon/hwmon2/power1_input": "150000\n",
    "sys/class/hwmon/hwmon3/name": "ina226\n",
}

ALL = PIXEL | PHONE | SERVER | BOARD


def plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def the_meter(root: Path, files: dict[str, str]) -> Meter:
    (meter,) = find_meters(plant(root, files))
    return meter


def samples(*values: Sequence[int], every_ms: int = 100) -> list[Sample]:
    return [Sample(i * every_ms * MS, tuple(v)) for i, v in enumerate(values)]


def used(meter: Meter, readings: Sequence[Sample]) -> float:
    """Microjoules from the first reading to the last."""
    return meter.trace(readings).energy_uj(readings[0].instant_ns, readings[-1].instant_ns)


def battery(root: Path, **changes: str) -> Meter:
    folder = "sys/class/power_supply/battery"
    return the_meter(root, PHONE | {f"{folder}/{name}": text for name, text in changes.items()})


def test_nothing_is_offered_where_nothing_is(tmp_path: Path) -> None:
    assert find_meters(tmp_path) == ()


def test_the_best_meter_comes_first(tmp_path: Path) -> None:
    names = [meter.name for meter in find_meters(plant(tmp_path, ALL))]
    assert names == ["odpm", "rapl", "ina226 VDD_5V_IN", "ina219 hwmon2", "battery battery"]


def test_rails_of_the_cores_are_summed(tmp_path: Path) -> None:
    meter = the_meter(tmp_path, PIXEL)
    assert meter.covers == "CPU rails S3M_VDD_CPUCL1, S4M_VDD_CPUCL0, S2M_VDD_CPUCL2"
    assert meter.read() == (400_000, 500_000, 761_330)
    assert used(meter, samples(meter.read(), (400_100, 500_010, 761_331))) == 111
    assert meter.objection() == ""


def test_rails_count_while_the_phone_is_charged(tmp_path: Path) -> None:
    charging = {"sys/class/power_supply/usb/online": "1\n"}
    rails, gauge = find_meters(plant(tmp_path, PIXEL | PHONE | charging))
    assert rails.objection() == ""
    assert "usb" in gauge.objection()


def test_a_rail_that_vanishes_gives_no_reading(tmp_path: Path) -> None:
    meter = the_meter(tmp_path, PIXEL)
    (tmp_path / "sys/bus/iio/devices/iio:device1/energy_value").write_text("t=358361\n")
    with pytest.raises(MeterError, match="S2M_VDD_CPUCL2"):
        meter.read()


def test_a_counter_of_rails_never_goes_back(tmp_path: Path) -> None:
    meter = the_meter(tmp_path, PIXEL)
    with pytest.raises(MeterError, match="jumped from 3 to 2"):
        meter.trace(samples((1, 2, 3), (1, 2, 2)))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "CH3(T=1)[VDD_CPU], 5\n",
        "t=\nCH3(T=1)[VDD_CPU], 5\n",
        "t=1\nCH3(T=1)[VDD_CPU], 5",
        "t=1\nCH3(T=1)[VDD_CPU], -5\n",
        "t=1\nCH3(T=1)[VDD_CPU], 5e9\n",
        "t=1\nCH3(T=1)[VDD CPU;], 5\n",
        f"t=1\nCH3(T=1)[VDD_CPU], {'9' * 30}\n",
        f"t=1\nCH3(T=1)[{'V' * 100}], 1\n",
    ],
)
def test_rails_of_no_known_form_are_not_read(text: str) -> None:
    assert parse_rails(text) == {}


@given(st.text())
def test_whatever_stands_in_a_file_of_rails(text: str) -> None:
    assert all(value >= 0 for value in parse_rails("t=1\n" + text).values())


def test_packages_are_summed_and_their_parts_are_not(tmp_path: Path) -> None:
    meter = the_meter(tmp_path, SERVER)
    assert meter.covers == "processor package-0, package-1"
    assert meter.read() == (1000, 2000)


def test_rapl_wraps_around_each_at_its_own_range(tmp_path: Path) -> None:
    meter = the_meter(tmp_path, SERVER)
    readings = samples((262143328800, 65532610900), (50, 65532610950), (150, 13))
    trace = meter.trace(readings)
    assert trace.energy_uj(0, 100 * MS) == (50 + 50) + 50
    assert trace.energy_uj(100 * MS, 200 * MS) == 100 + (65532610987 - 65532610950 + 13)


def test_a_counter_that_jumps_further_than_any_device_is_not_believed(tmp_path: Path) -> None:
    meter = the_meter(tmp_path, SERVER)
    with pytest.raises(MeterError, match="jumped"):
        meter.trace(samples((200_000_000_000, 5), (100, 5)))


def test_rapl_that_only_root_may_read_is_not_offered(tmp_path: Path) -> None:
    plant(tmp_path, SERVER)
    file = tmp_path / "sys/class/powercap/intel-rapl:1/energy_uj"
    file.chmod(0)
    if os.access(file, os.R_OK):
        # Root reads everything but a folder.
        file.unlink()
        file.mkdir()
    assert find_meters(tmp_path) == ()


@pytest.mark.parametrize("limit", ["", "0", "-1", "x", "9" * 20])
def test_rapl_without_a_range_is_not_offered(tmp_path: Path, limit: str) -> None:
    name = "sys/class/powercap/intel-rapl:0/max_energy_range_uj"
    assert find_meters(plant(tmp_path, SERVER | {name: limit})) == ()


@pytest.mark.parametrize(
    ("current", "voltage"),
    [
        ("-412000", "3850000"),  # as documented, discharging negative
        ("412000", "3850000"),  # the other sign
        ("-412", "3850000"),  # milliamperes
        ("412", "3850"),  # millivolts as well
        ("412000", "3850"),
    ],
)
def test_units_and_signs_of_a_battery_are_found_out(
    tmp_path: Path, current: str, voltage: str
) -> None:
    meter = battery(tmp_path, current_now=current, voltage_now=voltage)
    assert meter.objection() == ""
    reading = meter.read()
    # 0.412 A at 3.85 V for 0.1 s.
    assert used(meter, samples(reading, reading)) == pytest.approx(158_620)


def test_an_idle_phone_of_few_milliamperes_is_told_by_its_busy_ones(tmp_path: Path) -> None:
    meter = battery(tmp_path)
    readings = samples((8_000, 4_000_000), (8_000, 4_000_000), (500_000, 4_000_000))
    assert meter.trace(readings).energy_uj(0, 100 * MS) == pytest.approx(3_200)


def test_a_battery_has_the_grain_that_it_shows(tmp_path: Path) -> None:
    meter = battery(tmp_path)
    grain = meter.trace(samples((400, 4_000), (402, 4_000), (410, 4_000))).step_mw
    assert grain == pytest.approx(2 * 4.0)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("usb/online", "1\n", "usb supplies power: unplug it"),
        ("wireless/online", "2\n", "wireless supplies power"),
        ("battery/status", "Charging\n", "status is Charging"),
        ("battery/status", "Full\n", "status is Full"),
        ("battery/status", "Not charging\n", "status is Not charging"),
        ("battery/status", "", "status is unknown"),
    ],
)
def test_external_power_is_objected_to(tmp_path: Path, name: str, text: str, said: str) -> None:
    meter = the_meter(tmp_path, PHONE | {f"sys/class/power_supply/{name}": text})
    assert said in meter.objection()


def test_a_current_that_turns_round_is_a_charger(tmp_path: Path) -> None:
    meter = battery(tmp_path)
    with pytest.raises(FalsifiedError, match="direction"):
        meter.trace(samples((-400_000, 4_000_000), (0, 4_000_000), (90_000, 4_000_000)))


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        ((0, 4_000_000), "no current"),
        ((400_000, 12), "voltage of 12"),
        ((400_000, -4_000_000), "voltage of -4000000"),
        ((10**12, 4_000_000), "power of"),
    ],
)
def test_gauges_that_tell_nonsense(tmp_path: Path, reading: tuple[int, int], said: str) -> None:
    with pytest.raises(MeterError, match=said):
        battery(tmp_path).trace(samples(reading, reading))


@pytest.mark.parametrize("voltage", ["", "0", "7", "four", "-3850000", "1" * 19])
def test_a_battery_without_a_voltage_is_not_offered(tmp_path: Path, voltage: str) -> None:
    name = "sys/class/power_supply/battery/voltage_now"
    assert find_meters(plant(tmp_path, PHONE | {name: voltage})) == ()


def test_the_battery_of_a_mouse_is_not_the_devices(tmp_path: Path) -> None:
    scope = {"sys/class/power_supply/battery/scope": "Device\n"}
    assert find_meters(plant(tmp_path, PHONE | scope)) == ()


def test_ina_chips_tell_microwatts(tmp_path: Path) -> None:
    first, second = find_meters(plant(tmp_path, BOARD))
    assert used(first, samples((2_375_000,), (2_625_000,), every_ms=1000)) == 2_500_000
    assert second.read() == (150_000,)
    with pytest.raises(MeterError, match="power of -1"):
        second.trace(samples((-1_000_000,), (5,)))


def test_an_ina_is_called_by_its_address_where_it_has_no_label(tmp_path: Path) -> None:
    plant(tmp_path, BOARD)
    address = tmp_path / "sys/bus/i2c/devices/1-0040"
    address.mkdir(parents=True)
    (tmp_path / "sys/class/hwmon/hwmon2/device").symlink_to(address)
    assert find_meters(tmp_path)[1].name == "ina219 1-0040"


@pytest.mark.parametrize("text", ["", "x" * 70_000, "\x00\xff\x1b[31m", "-", "9" * 40, "1\n2\n"])
def test_whatever_stands_in_the_files_nothing_breaks(tmp_path: Path, text: str) -> None:
    for name in ALL:
        changed = plant(tmp_path / name.replace("/", "_"), ALL | {name: text})
        for meter in find_meters(changed):
            assert meter.name.isprintable()
            assert len(meter.covers) <= 200
            assert isinstance(meter.objection(), str)


def test_a_meter_that_breaks_meanwhile_says_so(tmp_path: Path) -> None:
    meters = find_meters(plant(tmp_path, ALL))
    for name in ALL:
        (tmp_path / name).write_text("\x00")
    for meter in meters:
        with pytest.raises(MeterError):
            meter.read()


def test_folders_and_pipes_in_place_of_files_are_no_meters(tmp_path: Path) -> None:
    for number, name in enumerate(ALL):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if number % 2 else os.mkfifo(path)
    assert find_meters(tmp_path) == ()


def test_a_trace_is_linear_between_samples_and_ends_with_them() -> None:
    trace = counter_trace(samples((0,), (100,), (400,)), [0], step_uj=1)
    assert trace.energy_uj(50 * MS, 150 * MS) == pytest.approx(50 + 150)
    assert trace.energy_uj(0, 200 * MS) == 400
    for begin, end in ((-1, 100 * MS), (0, 200 * MS + 1)):
        with pytest.raises(MeterError, match="whole time"):
            trace.energy_uj(begin, end)


def test_gaps_and_too_few_samples_are_refused() -> None:
    with pytest.raises(MeterError, match="could not be read"):
        power_trace(samples((1,)), [1.0], 0)
    wide = [Sample(0, (1,)), Sample(MAX_GAP_NS + 1, (2,))]
    with pytest.raises(MeterError, match=r"for 1\.0 s"):
        counter_trace(wide, [0], 0)


@given(st.lists(st.integers(0, 10**6), min_size=2, unique=True), st.integers(1, 1000))
def test_the_grain_is_never_less_than_the_true_one(counts: list[int], grain: int) -> None:
    assert smallest_step([count * grain for count in counts]) % grain == 0


def test_the_recorder_reads_until_it_is_stopped_and_once_more(tmp_path: Path) -> None:
    meter = the_meter(tmp_path, SERVER)
    recorder = Recorder(meter, poll_seconds=0.001)
    recorder.start()
    plant(tmp_path, {"sys/class/powercap/intel-rapl:0/energy_uj": "5000\n"})
    taken = recorder.stop()
    assert taken[0].values[1] == 2000
    assert taken[-1].values == (5000, 2000)
    assert all(a.instant_ns < b.instant_ns for a, b in itertools.pairwise(taken))


def test_readings_that_fail_leave_a_gap() -> None:
    class Faulty:
        """Answers every other time, five times in all."""

        def __init__(self) -> None:
            self.reads = 0
            self.done = threading.Event()

        def read(self) -> tuple[int, ...]:
            self.reads += 1
            if self.reads > 5:
                self.done.set()
            if self.reads % 2 == 0 or self.done.is_set():
                raise MeterError("gone")
            return (self.reads,)

    meter = Faulty()
    recorder = Recorder(meter, itertools.count().__next__, poll_seconds=0.001)  # type: ignore[arg-type]
    recorder.start()
    assert meter.done.wait(10)
    assert [sample.values for sample in recorder.stop()] == [(1,), (3,), (5,)]
