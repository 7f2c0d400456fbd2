"""`adapt run --budget energy=...` on devices with a meter, without, and with one in the charger.

ADAPT_LONG=1 adds a whole run, of some minutes: meters take seconds a kernel.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Adapt

LONG = pytest.mark.skipif(not os.environ.get("ADAPT_LONG"), reason="ADAPT_LONG=1 runs it")
USAGE, DEVICE = 2, 4
# Two dozen kernels, twelve seconds each.
ENERGY_DEADLINE_S = 1_500
BUDGET = ("--budget", "energy=70%", "--first-step", "0.3")
FEW_STEPS = ("--trial-steps=2", "--short-steps=1", "--settling-steps=1", "--long-steps=1")

CHARGED_PHONE = {
    "battery/type": "Battery",
    "battery/status": "Charging",
    "battery/current_now": "412000",
    "battery/voltage_now": "3850000",
    "usb/type": "USB",
    "usb/online": "1",
}


def agent_python(folder: Path, power_root: Path) -> tuple[str, str]:
    """The option that runs the agent with its meters' files below `power_root`."""
    script = folder / "python"
    python, root = shlex.quote(sys.executable), shlex.quote(str(power_root))
    script.write_text(f'#!/bin/sh\nexec {python} "$@" --power-root {root}\n')
    script.chmod(0o755)
    return "--agent-python", str(script)


def test_without_a_meter_there_is_no_energy_source(bare_adapt: Adapt, tmp_path: Path) -> None:
    python = agent_python(tmp_path, tmp_path / "nothing")
    finished = bare_adapt.quick("run", *bare_adapt.DEMO, *BUDGET, *python)
    assert finished.code == USAGE, finished.err
    assert "no energy source for this platform" in finished.err
    assert "budgets can limit: latency, macs" in finished.err
    assert "Traceback" not in finished.err
    assert not list(bare_adapt.jobs.glob("*"))


def test_a_phone_in_its_charger_is_told_to_be_unplugged(adapt: Adapt, tmp_path: Path) -> None:
    root = tmp_path / "phone"
    for name, text in CHARGED_PHONE.items():
        path = root / "sys/class/power_supply" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    finished = adapt.quick("run", *adapt.DEMO, *BUDGET, *agent_python(tmp_path, root))
    assert finished.code == DEVICE, finished.err
    assert "usb supplies power" in finished.err
    assert "Unplug it" in finished.err
    assert "adapt resume" in finished.err
    assert "Traceback" not in finished.err


@LONG
def test_a_network_is_adapted_to_a_budget_in_joules(
    adapt: Adapt, tmp_path: Path, metered: Any
) -> None:
    running = adapt.start(
        *("run", *adapt.DEMO, *BUDGET, *FEW_STEPS, "--json"),
        *agent_python(tmp_path, metered.root),
    )

    def attached() -> bool:
        """The meter counts what the agent's workers use, once there is an agent."""
        for process in running.descendants():
            if "device_agent" in process.cmdline():
                metered.agent = process.pid
        return bool(metered.agent)

    try:
        running.until(attached)
        running.process.wait(ENERGY_DEADLINE_S)
    finally:
        running.process.kill()
    finished = running.wait()
    assert finished.code == 0, finished.err
    result = json.loads(finished.out)
    networks = {network["name"]: network for network in result["networks"]}
    original, adapted = (networks[n]["cost"]["energy"] for n in ("original", "adapted"))
    # The kernels of both were timed anew since the budget was met.
    assert sum(adapted.values()) < 1.2 * result["limits"]["energy"]
    assert result["limits"]["energy"] < sum(original.values())
    # All of the original could not have run under the meter, nor had to.
    assert set(original) == {"measured", "interpolated"}
    shown = adapt.quick("tables", "show", "--json", "--limit", "1000")
    (table,) = json.loads(shown.out)
    energies = [e for e in table["entries"] if e["energy_uj"] is not None]
    assert energies
    assert {e["energy_meter"] for e in energies} == {"rapl"}
    assert adapt.quick("tables", "verify").code == 0


def test_energy_of_the_model_needs_no_meter(adapt: Adapt, tmp_path: Path) -> None:
    """By the analytic model the same budget can be met, and every output says what it is."""
    python = agent_python(tmp_path, tmp_path / "nothing")
    budget = ("--budget", "energy=80%", "--first-step", "0.3", "--energy", "eyeriss")
    finished = adapt.quick("run", *adapt.DEMO, *budget, *FEW_STEPS, *python)
    assert finished.code == 0, finished.err
    assert "budget energy=80%" in finished.out
    assert "analytic: modelled on the Eyeriss chip, in its units; not measured" in finished.out
    (job,) = adapt.jobs.iterdir()
    result = json.loads((job / "job.json").read_text())["result"]
    costs = {network["name"]: network["cost"]["energy"] for network in result["networks"]}
    assert set(costs["adapted"]) == {"analytic"}
    assert costs["adapted"]["analytic"] <= 0.8 * costs["original"]["analytic"]
    assert "100% analytic" in (job / "report.html").read_text()
