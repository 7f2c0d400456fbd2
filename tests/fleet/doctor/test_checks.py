"""What the doctor makes of a device's answers."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapt.fleet.doctor import Facts, Finding, Verdict, findings
from tests.fleet.doctor.phone import PROPERTIES, SECTIONS, phone, script_output


def about(check: str, facts: Facts) -> Finding:
    (found,) = (finding for finding in findings(facts) if finding.check == check)
    return found


def test_a_good_phone_passes() -> None:
    found = findings(phone())
    costs = {f.check for f in found if f.verdict is not Verdict.PASS}
    # Its governor follows the load, but the phone has a mode against that.
    assert costs == set()
    seen = {f.check: f.seen for f in found}
    assert seen["system"] == "Pixel 6, Android 14"
    assert seen["cores"] == "2 of 2.80 GHz + 2 of 2.25 GHz + 4 of 1.80 GHz"
    assert phone().current_khz[:5] == [1803000] * 4 + [400000]
    assert seen["temperature"] == "38 C (BIG), 4 sensors"
    assert seen["energy"] == "2 device(s) of power rails"
    assert seen["battery"] == "85 %, on external power"


@pytest.mark.parametrize(
    ("check", "verdict", "changes"),
    [
        ("execution", Verdict.FAIL, {"execute": ""}),
        ("page size", Verdict.FAIL, {"page": "131072"}),
        ("page size", Verdict.PASS, {"page": "16384"}),
        ("page size", Verdict.WARN, {"page": ""}),
        ("architecture", Verdict.FAIL, {"machine": "armv8l"}),
        ("free space", Verdict.FAIL, {"space": "/dev/block/dm-41 114713160 3 100000 99% /data"}),
        ("free space", Verdict.WARN, {"space": "df: no such file"}),
        ("affinity", Verdict.WARN, {"affinity": ""}),
        ("cores", Verdict.WARN, {"cores": "cpu=0 max= min= now= governor=\ncpu=1 max="}),
        ("cores", Verdict.WARN, {"cores": ""}),
        ("clocks", Verdict.WARN, {"cores": "cpu=0 max=1803000 min=300000 now=1803000 governor="}),
        ("temperature", Verdict.WARN, {"throttling": "Thermal Status: 2"}),
        ("temperature", Verdict.WARN, {"thermal": "71000 BIG"}),
        ("temperature", Verdict.PASS, {"thermal": ""}),
        ("temperature", Verdict.WARN, {"thermal": "", "throttling": ""}),
        ("battery", Verdict.WARN, {"battery": "  level: 12\n"}),
        ("battery", Verdict.WARN, {"battery": ""}),
        ("load", Verdict.WARN, {"load": "7.9 4 4 1/1 1"}),
        ("restarts", Verdict.WARN, {"boot": ""}),
        ("energy", Verdict.PASS, {"rails": ""}),
        ("energy", Verdict.WARN, {"rails": "", "gauge": "usb USB 480000 5000000"}),
    ],
)
def test_what_is_wrong_is_said(check: str, verdict: Verdict, changes: dict[str, str]) -> None:
    finding = about(check, phone(**changes))
    assert finding.verdict is verdict
    if verdict is Verdict.FAIL:
        assert finding.todo


def test_an_old_android_is_refused() -> None:
    old = phone({"ro.build.version.release": "6.0.1"})
    assert about("system", old).verdict is Verdict.FAIL
    assert about("clocks", old).verdict is Verdict.WARN


def test_a_32_bit_phone_with_a_64_bit_kernel_is_refused() -> None:
    assert about("architecture", phone({"ro.product.cpu.abi": "armeabi-v7a"})).verdict == "fail"


def test_the_gauge_only_counts_unplugged() -> None:
    assert "only unplugged" in about("energy", phone(rails="")).seen


@settings(max_examples=30)
@given(st.text(max_size=300), st.sampled_from(sorted(SECTIONS)))
def test_no_answer_of_a_device_is_a_traceback(text: str, section: str) -> None:
    findings(phone(**{section: text}))
    findings(Facts.parse(text, PROPERTIES))
    assert findings(Facts.parse(script_output()[: len(text) * 7], PROPERTIES))
