"""The phone over USB: two machines, of which one has the other plugged in, by USB/IP."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from adapt.fleet.bundle import RUNTIMES
from tests.fleet.emulation import aarch64_bundle
from tests.fleet.vm import attach
from tests.fleet.vm.host import run_tests
from tests.fleet.vm.phone import ADDRESS, GUEST_PORT, running_phone

pytestmark = pytest.mark.skipif("ADAPT_VM" not in os.environ, reason="minutes; ADAPT_VM=1 runs it")
SERIAL = "16KPHONE"
WHERE = f"{ADDRESS} {GUEST_PORT} {SERIAL}"
TESTS = "tests/fleet/vm/test_phone.py -rP --durations=0"


def test_a_phone_on_usb(tmp_path: Path) -> None:
    """What test_phone.py finds over TCP is found over USB."""
    aarch64_bundle(RUNTIMES[0])
    for name in ("phone", "host"):
        (tmp_path / name).mkdir()
    wire = f"addr.type=unix,addr.path={tmp_path / 'wire'}"
    with running_phone(tmp_path / "phone", f"stream,id=n,server=on,{wire}", SERIAL) as phone:
        try:
            said = run_tests(
                tmp_path / "host",
                TESTS,
                usb="usb_remote.sh",
                drivers=["vhci_hcd", "virtio_net"],
                files={"attach": f"{sys.executable} {attach.__file__} {WHERE}"},
                environment={"ADAPT_VM": "1", "ADAPT_VM_PHONE": SERIAL},
                options=[
                    *("-netdev", f"stream,id=n,server=off,{wire}"),
                    *("-device", "virtio-net-pci,netdev=n,romfile="),
                ],
            )
        finally:
            print(phone.text())
        # As its adbd says; it listens nowhere else.
        phone.await_line("USB event: FUNCTIONFS_ENABLE", 1)
    # What lacked in the machine would be a skip there.
    assert "SKIPPED" not in said
