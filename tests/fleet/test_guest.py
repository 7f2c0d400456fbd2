"""Being a guest on a phone: heat, battery and clocks that a test decides on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pytest

from adapt.errors import DeviceError
from adapt.fleet.canary import CANARY_ID, Canary
from adapt.fleet.device import (
    Batch,
    Core,
    Description,
    Identity,
    Limits,
    MeasureOptions,
    ModelFile,
    Outcome,
    Progress,
    State,
    Status,
)
from adapt.fleet.guest import CANARY_EVERY, COOLING_SECONDS, GuestDevice
from adapt.fleet.here import LocalLink
from adapt.fleet.link import ShellResult
from adapt.fleet.phone import Condition, condition, is_phone
from lookup_tables.kernel import Platform
from lookup_tables.quality import Window

FINE = Condition(thermal_status=0, battery_percent=80, powered=True)
MODELS = [ModelFile("a", b"x"), ModelFile("b", b"y")]


class Paced:
    """A device whose canary takes what a test says."""

    name = "phone"

    def __init__(self, canary_us: Iterable[float]) -> None:
        self._canary_us = iter(canary_us)
        self.calls: list[list[str]] = []

    def measure(
        self,
        models: Sequence[ModelFile],
        options: MeasureOptions,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Batch:
        self.calls.append([model.id for model in models])
        outcomes = {
            model.id: timed(next(self._canary_us) if model.id == CANARY_ID else 7.0)
            for model in models
        }
        state = State((), (), 0.1, 1 << 30, 1)
        return Batch(outcomes, state, state, 10.0)

    def describe(self) -> Description:
        core = Core(0, 0, 0, "")
        identity = Identity(
            *("Phone", "chip", "build", "aarch64", "ai-edge-litert", "2.3.0", "0" * 16),
            cores=(core,),
            page_size=4096,
            memory_total=1 << 33,
            agent_version="0.1.0",
            backends=("xnnpack",),
            boot_id="",
        )
        state = State((0,), (), 0.1, 1 << 30, 1)
        return Description(identity, state, Limits(256, 1 << 20, 1 << 24, 600_000, 1))

    def platform(self, backend: str, threads: int, core_mask: int = 0) -> Platform:
        return self.describe().platform(backend, threads, core_mask)

    def close(self) -> None:
        self.calls.append(["closed"])


def timed(us: float) -> Outcome:
    window = Window(100, 0, 1, us, us, us, us, 0.0)
    windows = (window, replace(window, start_ms=5.0))
    return Outcome(Status.MEASURED, "", 0, windows, 1, 1, None)


class Phone:
    """A phone with a canary of these times and conditions in turn, the last one for ever."""

    def __init__(self, canary_us: Iterable[float], conditions: Sequence[Condition] = (FINE,)):
        self.device = Paced(canary_us)
        self._conditions = list(conditions)
        self.said: list[str] = []
        self.rested = 0.0
        self.guest = GuestDevice(
            self.device, self._condition, Canary(), self.said.append, self._rest
        )

    def _condition(self) -> Condition:
        return self._conditions.pop(0) if len(self._conditions) > 1 else self._conditions[0]

    def _rest(self, seconds: float) -> None:
        self.rested += seconds


def test_a_steady_phone_measures_at_once() -> None:
    phone = Phone([50.0, 51.0])
    for _ in range(2):
        batch = phone.guest.measure(MODELS, MeasureOptions())
    assert set(batch.outcomes) == {"a", "b"}
    assert (batch.before.battery_percent, batch.after.thermal_status) == (80, 0)
    assert (phone.rested, phone.said) == (0.0, [])


def test_a_batch_of_a_slowed_phone_is_measured_again() -> None:
    phone = Phone([50.0, 55.0, 50.5])
    phone.guest.measure(MODELS, MeasureOptions())
    phone.guest.measure(MODELS, MeasureOptions())
    assert phone.device.calls == [["a", "b", CANARY_ID]] * 3
    assert phone.rested > 0
    assert "10% slower than at first" in phone.said[0]


def test_a_phone_that_stays_slow_is_given_up() -> None:
    phone = Phone([50.0] + [60.0] * 20)
    phone.guest.measure(MODELS, MeasureOptions())
    with pytest.raises(DeviceError, match="does not hold its speed"):
        phone.guest.measure(MODELS, MeasureOptions())


def test_each_way_of_running_has_a_canary_of_its_own() -> None:
    phone = Phone([50.0, 90.0, 50.0])
    for mask in (0b1100, 0b0011, 0b1100):
        phone.guest.measure(MODELS, MeasureOptions(core_mask=mask))
    assert phone.rested == 0


def test_a_faster_phone_raises_the_bar() -> None:
    phone = Phone([50.0, 45.0, 50.0, 45.0])
    for _ in range(3):
        phone.guest.measure(MODELS, MeasureOptions())
    assert len(phone.device.calls) == 4


def test_the_canary_goes_ahead_of_the_meter() -> None:
    phone = Phone([50.0])
    batch = phone.guest.measure(MODELS, MeasureOptions(energy_ms=1000))
    assert phone.device.calls == [[CANARY_ID], ["a", "b"]]
    assert set(batch.outcomes) == {"a", "b"}


def test_a_hot_phone_rests_first() -> None:
    hot = replace(FINE, thermal_status=2)
    phone = Phone([50.0], [hot, hot, FINE])
    phone.guest.measure(MODELS, MeasureOptions())
    assert phone.rested > 0
    assert phone.said == ["phone is hot and rests"]


def test_a_phone_that_stays_hot_is_given_up() -> None:
    phone = Phone([50.0], [replace(FINE, thermal_status=3)])
    with pytest.raises(DeviceError, match="throttles still"):
        phone.guest.measure(MODELS, MeasureOptions())
    assert phone.rested == COOLING_SECONDS
    assert phone.device.calls == []


def test_an_empty_battery_ends_it() -> None:
    phone = Phone([50.0], [replace(FINE, battery_percent=9)])
    with pytest.raises(DeviceError, match="at 9 %"):
        phone.guest.measure(MODELS, MeasureOptions())


def test_a_phone_that_tells_nothing_is_measured_on() -> None:
    phone = Phone([50.0], [Condition()])
    batch = phone.guest.measure(MODELS, MeasureOptions())
    assert batch.after.battery_percent == -1


def test_batches_leave_room_for_the_canary() -> None:
    phone = Phone([50.0])
    inner: Description = phone.device.describe()
    assert phone.guest.describe().limits.max_models == CANARY_EVERY
    assert phone.guest.describe().identity == inner.identity
    phone.guest.close()
    assert phone.device.calls == [["closed"]]


class Answering(LocalLink):
    """A phone's shell; without `answers`, one whose services are not there."""

    def __init__(self, **answers: str) -> None:
        self._answers = answers

    def properties(self) -> dict[str, str]:
        return {"ro.build.version.release": "14"} if self._answers else {}

    def shell(self, command: Sequence[str], *, stdin: bytes = b"", timeout_s: float) -> ShellResult:
        answer = self._answers.get(command[1])
        return ShellResult(0 if answer else 127, (answer or "").encode(), b"")


def test_what_a_phone_tells() -> None:
    link = Answering(
        battery="Current Battery Service state:\n  AC powered: false\n  USB powered: true\n"
        "  level: 85\n  scale: 100\n",
        thermalservice="IsStatusOverride: false\nThermal Status: 2\nCached temperatures:\n",
    )
    assert condition(link) == Condition(thermal_status=2, battery_percent=85, powered=True)
    assert is_phone(link)
    odd = Answering(battery="  level: 999\n", thermalservice="Thermal Status: 9\n")
    assert condition(odd) == Condition()
    assert condition(Answering()) == Condition()
    assert not is_phone(LocalLink())
