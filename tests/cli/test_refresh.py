"""`adapt refresh`, as cron runs it."""

from __future__ import annotations

import configparser
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from click.testing import CliRunner, Result

from adapt.cli import main
from adapt.fleet.local import LocalDevice
from adapt.locks import locked
from adapt.tflite.ops import make_kernel
from lookup_tables import Kernel, Platform, Store, Tensor
from lookup_tables.checks import verify
from lookup_tables.exchange import Row, merge

ROOT = Path(__file__).parents[2]
UNITS = ROOT / "tools" / "systemd"
USAGE, TABLE, STALE, BUSY = 2, 6, 7, 75
DEADLINE_S = 120.0
SEED = int(os.environ.get("ADAPT_SEED", "0")) or int.from_bytes(os.urandom(4))
# Two batches.
KERNELS = [
    make_kernel("LOGISTIC", [Tensor("float32", (1, n))], [Tensor("float32", (1, n))])
    for n in range(60_000, 60_128)
]
ALL = len(KERNELS)
_WITHOUT_TENSORFLOW = """
import sys
from adapt.cli import main
try:
    main(sys.argv[1:])
finally:
    assert not {"tensorflow", "keras", "jax"} & set(sys.modules), "a command imports TensorFlow"
"""


@pytest.fixture(scope="module")
def platform() -> Platform:
    """What this machine is."""
    with LocalDevice() as device:
        return device.platform("xnnpack", 1, 0)


@pytest.fixture
def home(tmp_path: Path, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table that knows KERNELS from a colleague, ten days ago."""
    long_ago = time.time() - 10 * 86_400
    rows = [Row(platform, kernel, 9.0, 0.003, 0.2, long_ago, "colleague") for kernel in KERNELS]
    with Store(tmp_path / "tables.db") as store:
        merge(store, rows, time.time())
    monkeypatch.setenv("ADAPT_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(autouse=True)
def sigterm() -> Iterator[None]:
    """The command line handles SIGTERM; the tests' own handler comes back."""
    saved = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, saved)


def run(*arguments: str | Path, code: int = 0) -> Result:
    """`adapt refresh` inside this process."""
    result = CliRunner().invoke(main, ["refresh", *map(str, arguments)], prog_name="adapt")
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    return result


def start(*arguments: str) -> subprocess.Popen[str]:
    """The same in a process of its own, which must not import TensorFlow."""
    return subprocess.Popen(
        [sys.executable, "-c", _WITHOUT_TENSORFLOW, "refresh", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def own(home: Path, platform: Platform) -> dict[Kernel, int]:
    """The batch that measured each kernel on this machine."""
    with Store(home / "tables.db") as store:
        entries = store.entries(platform)
    return {kernel: entry.batch for kernel, entry in entries.items() if not entry.source}


def platform_of(said: dict[str, Any]) -> dict[str, Any]:
    (only,) = said["platforms"]
    found: dict[str, Any] = only
    return found


def test_killed_and_run_again(home: Path, platform: Platform) -> None:
    process = start("--json")
    deadline = time.monotonic() + DEADLINE_S
    while not own(home, platform):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate(timeout=DEADLINE_S)
    _, alive = psutil.wait_procs(children, timeout=15)
    assert not alive
    done = own(home, platform)
    assert 0 < len(done) < ALL
    with Store(home / "tables.db") as store:
        assert verify(store) == []
    again = start("--json")
    out, err = again.communicate(timeout=DEADLINE_S)
    assert again.returncode == 0, err
    said = platform_of(json.loads(out))
    rest = ALL - len(done)
    if said["drifts"]:  # This machine may really have become slower or faster between the two.
        assert said["measured"]["drifted"] >= rest
    else:
        assert said["measured"]["stale"] == rest
    assert (said["left"], said["fresh"], said["entries"]) == (0, True, ALL)
    assert set(own(home, platform)) == set(KERNELS)


@pytest.mark.skipif(not os.environ.get("ADAPT_LONG"), reason="ADAPT_LONG=1 runs it")
def test_killed_again_and_again(home: Path, platform: Platform) -> None:
    """At random moments, until the table is fresh: what was measured stays measured."""
    chance = random.Random(SEED)
    measured: set[Kernel] = set()
    for kill in range(40):
        process = start("--json")
        try:
            process.communicate(timeout=chance.uniform(0.2, 6.0))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate(timeout=DEADLINE_S)
        now = set(own(home, platform))
        assert measured <= now, f"seed {SEED}, kill {kill}"
        measured = now
        with Store(home / "tables.db") as store:
            assert verify(store) == [], f"seed {SEED}, kill {kill}"
    last = start("--json")
    _, err = last.communicate(timeout=DEADLINE_S)
    assert last.returncode == 0, err
    assert set(own(home, platform)) == set(KERNELS)


def test_what_is_left_has_an_exit_code_and_a_summary_line(home: Path) -> None:
    result = run("--time-limit", "0s", code=STALE)
    *_, last = result.stdout.splitlines()
    assert last.startswith(f"refresh of local: NOT FRESH; 0 of 1 platform(s) drifted, 0 of {ALL}")
    assert f"{ALL} left out of date" in last
    assert f"not fresh: {ALL} entries left out of date\n" in result.stderr
    said = json.loads(run("--time-limit", "0s", "--json", code=STALE).stdout)
    assert (said["fresh"], platform_of(said)["left"]) == (False, ALL)


def test_a_fresh_table_needs_no_measurement(home: Path) -> None:
    result = run("--max-age", "3650d")
    assert (
        f"refresh of local: fresh; 0 of 1 platform(s) drifted, 0 of {ALL} entries" in result.stdout
    )
    assert result.stderr == ""


def test_one_at_a_time(home: Path) -> None:
    with locked(home / "locks" / "local.lock", "the device"):
        assert f"in use by process {os.getpid()}" in run(code=BUSY).stderr


def test_a_table_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAPT_HOME", str(tmp_path))
    Store(tmp_path / "tables.db").close()
    assert "the table knows no platform of local" in run().stdout


def test_another_device_is_not_touched(home: Path, platform: Platform) -> None:
    with Store(home / "tables.db") as store:
        other = Platform.parse(platform.text.replace(platform.soc, "Other"))
        merge(store, [Row(other, KERNELS[0], 9.0, 0.003, 0.2, 1.0, "colleague")], time.time())
    said = json.loads(run("--max-age", "3650d", "--json").stdout)
    assert platform_of(said)["platform"]["soc"] == platform.soc


@pytest.mark.parametrize(
    ("arguments", "code", "mention"),
    [
        (["--max-age", "7"], USAGE, "'7' is not a duration such as 90s"),
        (["--max-age", "-1d"], USAGE, "duration"),
        (["--max-age", "1e9d"], USAGE, "duration"),
        (["--max-age", "4000d"], USAGE, "more than ten years"),
        (["--time-limit", "1 h"], USAGE, "--time-limit"),
        (["--time-limit", "\u0661h"], USAGE, "--time-limit"),
        (["--device", "toaster"], USAGE, "toaster"),
        (["--tables", "absent.db"], TABLE, "no table file absent.db"),
    ],
)
def test_mistakes(home: Path, arguments: list[str], code: int, mention: str) -> None:
    assert mention in run(*arguments, code=code).stderr


def test_units_call_what_there_is() -> None:
    service = configparser.ConfigParser(strict=False, interpolation=None)
    service.optionxform = str  # type: ignore[assignment, method-assign]
    service.read(UNITS / "adapt-refresh.service")
    program, command, *options = service["Service"]["ExecStart"].split()
    assert Path(program).name == "adapt"
    known = {name for option in main.commands[command].params for name in option.opts}
    assert {option for option in options if option.startswith("--")} <= known
    assert service["Service"]["SuccessExitStatus"] == str(BUSY)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="there is no systemd here")
def test_systemd_understands_the_units(tmp_path: Path) -> None:
    """As they are, but for the program, which systemd wants to find."""
    for name in ("adapt-refresh.service", "adapt-refresh.timer"):
        text = (UNITS / name).read_text().replace("/usr/local/bin/adapt", "/bin/true")
        (tmp_path / name).write_text(text)
    checked = subprocess.run(
        [
            "systemd-analyze",
            "verify",
            "--man=no",
            str(tmp_path / "adapt-refresh.timer"),
            str(tmp_path / "adapt-refresh.service"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
