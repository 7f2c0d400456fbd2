"""Links over USB: a machine whose USB is its own device, in which tests of links run once more."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fleet.adb import lab
from tests.fleet.vm.host import run_tests

pytestmark = pytest.mark.skipif("ADAPT_VM" not in os.environ, reason="minutes; ADAPT_VM=1 runs it")
SERIAL = "0A1B2C3D"
# Of the suite for all links those over USB, and what only USB has. That for devices can be named
# as well; an emulated machine starts workers too slowly for all of it.
TESTS = "tests/fleet/adb/test_link.py tests/fleet/adb/test_usb.py"


@pytest.mark.parametrize("speed", ["high", "super"])
def test_links_over_usb(speed: str, tmp_path: Path) -> None:
    run_tests(
        tmp_path,
        f"-k usb {os.environ.get('ADAPT_VM_TESTS', TESTS)}",
        usb="usb_own.sh",
        drivers=["dummy_hcd", "usb_f_fs"],
        files={"adbd": " ".join(lab.command("adbd"))},
        environment={"ADAPT_USB": SERIAL, "ADAPT_ADBD": str(lab.programs())},
        parameters=f"ADAPT_USB={SERIAL} ADAPT_USB_SPEED={speed}",
    )
