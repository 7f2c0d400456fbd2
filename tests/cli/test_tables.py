"""`adapt tables`, `adapt predict` and `adapt measure`, as a user types them."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from adapt.cli import main
from adapt.tflite.ops import make_kernel
from adapt.tflite.writer import write_kernel
from lookup_tables import (
    Accepted,
    BatchRecord,
    EnergyResult,
    EnergyRun,
    KernelResult,
    NullResult,
    Platform,
    Store,
    Tensor,
)
from lookup_tables.exchange import Row, merge

USAGE, DEVICE, INPUT, TABLE = 2, 4, 5, 6
LOGISTIC = make_kernel("LOGISTIC", [Tensor("float32", (1, 4096))], [Tensor("float32", (1, 4096))])

# What a user runs, with what was imported by its end.
_WITHOUT_TENSORFLOW = """
import sys
from adapt.cli import main
try:
    main(sys.argv[1:])
finally:
    assert not {"tensorflow", "keras", "jax"} & set(sys.modules), "a command imports TensorFlow"
"""


@dataclass(frozen=True)
class Shell:
    """Runs commands with tables in `folder`."""

    folder: Path

    @property
    def table(self) -> Path:
        return self.folder / "tables.db"

    @property
    def model(self) -> Path:
        """A network of one operator."""
        path = self.folder / "logistic.tflite"
        path.write_bytes(write_kernel(LOGISTIC))
        return path

    def run(self, *arguments: str | Path, code: int = 0) -> Result:
        """`adapt` inside this process."""
        runner = CliRunner(env={"ADAPT_HOME": str(self.folder)})
        result = runner.invoke(main, [str(a) for a in arguments], prog_name="adapt")
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    def json(self, *arguments: str | Path) -> Any:
        """What a command prints, parsed."""
        return json.loads(self.run(*arguments, "--json").stdout)

    def process(self, *arguments: str | Path) -> Any:
        """The same by a process of its own, which must not import TensorFlow."""
        done = subprocess.run(
            [sys.executable, "-c", _WITHOUT_TENSORFLOW, *map(str, arguments), "--json"],
            env={**os.environ, "ADAPT_HOME": str(self.folder)},
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture(autouse=True)
def sigterm() -> Iterator[None]:
    """The command line handles SIGTERM; the tests' own handler comes back."""
    saved = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, saved)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Shell, Any]:
    """Tables with one measured kernel, and what `adapt predict` said of it."""
    shell = Shell(tmp_path_factory.mktemp("home"))
    return shell, shell.process("predict", shell.model)


@pytest.fixture
def shell(filled: tuple[Shell, Any], tmp_path: Path) -> Shell:
    """A copy of those tables."""
    with (
        sqlite3.connect(filled[0].table) as source,
        sqlite3.connect(tmp_path / "tables.db") as target,
    ):
        source.backup(target)
    source.close()
    target.close()
    return Shell(tmp_path)


def test_predict_prices_each_operator(filled: tuple[Shell, Any]) -> None:
    _, said = filled
    (operator,) = said["operators"]
    assert (operator["op"], operator["output_shape"]) == ("LOGISTIC", [1, 4096])
    assert (operator["kernel"], operator["origin"]) == (LOGISTIC.text, "measured")
    assert said["total_us"] == pytest.approx(said["call_us"] + operator["latency_us"])
    low, high = said["interval_us"]
    assert low <= said["total_us"] <= high
    assert (said["complete"], said["unknown"]) == (True, {})


def test_predict_offline_touches_no_device(filled: tuple[Shell, Any], tmp_path: Path) -> None:
    shell, _ = filled
    other = tmp_path / "other.tflite"
    tensor = Tensor("float32", (1, 1000))
    other.write_bytes(write_kernel(make_kernel("TANH", [tensor], [tensor])))
    # No agent could be started.
    offline = ("--offline", "--agent-python", "/absent/python")
    said = shell.json("predict", other, *offline)
    (operator,) = said["operators"]
    assert (operator["origin"], operator["latency_us"] > 0) == ("analytic", True)
    assert said["platform"]["threads"] == 1
    assert set(said["shares"]) == {"measured", "analytic"}
    assert "calibrated to" in said["told_by"]
    text = shell.run("predict", other, *offline).stdout
    assert "% analytic" in text
    assert "told by" in text
    known = shell.json("predict", shell.model, *offline)
    assert [each["origin"] for each in known["operators"]] == ["measured"]


def test_predict_offline_tells_energy_where_a_meter_did(shell: Shell, tmp_path: Path) -> None:
    table = tmp_path / "metered.db"
    phone = Platform("Pixel 6", "T", "X", "litert", "2", "0", "xnnpack", 1)
    tensor = Tensor("float32", (1, 1000))
    tanh = make_kernel("TANH", [tensor], [tensor])
    with Store(table) as store:
        null = NullResult((), Accepted(2.0, 0.01, 2))
        times = tuple(
            KernelResult(kernel, (), Accepted(us, 0.01, 2), nodes=1)
            for kernel, us in ((LOGISTIC, 12.0), (tanh, 7.0))
        )
        store.record_batch(phone, BatchRecord(1.0, null=null, kernels=times))
        # Three watts above half a watt of idle power, for a second each.
        runs = [
            EnergyRun("rapl", 500_000.0 + 3_000 * us, 1_000.0, 1_000, 500.0, 500.0, 0.01)
            for us in (12.0, 2.0)
        ]
        record = BatchRecord(1.0, energy=(EnergyResult(LOGISTIC, runs[0]),), null_energy=runs[1])
        store.record_batch(phone, record)
    asked = ("predict", shell.model, "--offline", "--tables", table)
    said = shell.json(*asked)
    # Ten microseconds of its own, and two of the call.
    assert said["energy_uj"] == {"measured": pytest.approx(36.0, rel=0.01)}
    assert "energy 36.000 uJ above idle power: 100.0% measured" in shell.run(*asked).stdout
    other = tmp_path / "tanh.tflite"
    other.write_bytes(write_kernel(tanh))
    told = shell.json("predict", other, "--offline", "--tables", table)["energy_uj"]
    assert set(told) == {"measured", "analytic"}


@pytest.mark.parametrize("how", [("--offline",), ("--device", "eyeriss")])
def test_predict_with_nothing_measured_is_in_units_of_the_chip(
    shell: Shell, tmp_path: Path, how: tuple[str, ...]
) -> None:
    absent = tmp_path / "absent.db"
    said = shell.json("predict", shell.model, *how, "--tables", absent)
    assert (said["platform"], said["interval_us"]) == (None, None)
    text = shell.run("predict", shell.model, *how, "--tables", absent).stdout
    assert "on the Eyeriss chip" in text
    assert "not measured" in text
    assert not absent.exists()


def test_predict_offline_asks_which_of_several_platforms(shell: Shell, tmp_path: Path) -> None:
    table = tmp_path / "several.db"
    phones = [Platform(f"Pixel {n}", "T", "X", "litert", "2", "0", "xnnpack", 1) for n in (6, 7)]
    with Store(table) as store:
        merge(store, [Row(each, LOGISTIC, 6.0, 0.1, 2.0, 1.0, "lab") for each in phones], 2.0)
    asked = ("predict", shell.model, "--offline", "--tables", table)
    refused = shell.run(*asked, code=USAGE).output
    assert "holds 2 platforms" in refused
    assert f"--platform {phones[1].key[:12]}" in refused
    chosen = shell.json(*asked, "--platform", phones[1].key[:12])
    assert chosen["platform"]["device_model"] == "Pixel 7"


def test_predict_measures_nothing_on_request(shell: Shell) -> None:
    known = shell.run("predict", shell.model, "--no-measure-missing").stdout
    assert "LOGISTIC  1x4096" in known
    assert "total " in known
    before = shell.table.read_bytes()
    said = shell.json("predict", shell.model, "--no-measure-missing", "--backend", "builtin")
    assert (said["total_us"], said["interval_us"], said["complete"]) == (None, None, False)
    assert said["unknown"] == {"LOGISTIC": 1}
    text = shell.run("predict", shell.model, "--no-measure-missing", "--backend", "builtin").stdout
    assert "unknown, not in the total: 1 LOGISTIC" in text
    assert "total unknown" in text
    assert shell.table.read_bytes() == before


def test_measure_times_whole_networks(shell: Shell) -> None:
    said = shell.process("measure", shell.model)
    (network,) = said["networks"]
    assert network["model"] == str(shell.model)
    assert network["latency_us"] > 0
    assert network["runs"] >= 1
    assert 0 <= network["delegated"] <= network["nodes"] == 1
    (platform,) = shell.json("tables")
    assert platform["counts"]["networks"] == network["runs"]


def test_tables_lists_platforms(shell: Shell) -> None:
    (listed,) = shell.process("tables")
    assert listed["counts"]["entries"] == 1
    assert listed["oldest"] <= listed["newest"]
    assert listed["median_error"] >= 0
    text = shell.run("tables").stdout
    assert listed["key"][:12] in text
    assert "xnnpack, 1 thread(s)" in text


@pytest.mark.parametrize("name", [LOGISTIC.key, LOGISTIC.key[:6], LOGISTIC.text])
def test_show_a_kernel(shell: Shell, name: str) -> None:
    shown = shell.json("tables", "show", name)
    assert (shown["key"], shown["kernel"]) == (LOGISTIC.key, LOGISTIC.text)
    (platform,) = shown["platforms"]
    assert [seen["answers"] for seen in platform["history"]].count(True) == 1
    text = shell.run("tables", "show", name).stdout
    assert LOGISTIC.text in text
    assert "accepted" in text


def test_show_the_entries(shell: Shell) -> None:
    (platform,) = shell.json("tables", "show")
    (entry,) = platform["entries"]
    assert (entry["kernel"], entry["source"]) == (LOGISTIC.text, "")
    assert LOGISTIC.text in shell.run("tables", "show", "--limit", "1").stdout
    assert shell.json("tables", "show", "--platform", platform["key"][:8]) == [platform]


def test_show_energies_where_they_are_known(shell: Shell) -> None:
    assert "uJ" not in shell.run("tables", "show").stdout
    assert shell.json("tables", "show", LOGISTIC.key)["platforms"][0]["energy"] is None
    run = EnergyRun("rapl", 2_000_000.0, 1_000.0, 10_000, 500.0, 500.0, 3.0)
    null = replace(run, invokes=1_000_000, error_uj=0.0)
    with Store(shell.table) as store:
        (platform,) = store.platforms()
        record = BatchRecord(1.0, energy=(EnergyResult(LOGISTIC, run),), null_energy=null)
        store.record_batch(platform, record)
    text = shell.run("tables", "show").stdout
    assert re.search(r" us +error .* uJ +error +meter ", text)
    assert re.search(r" 148\.500 +2\.0% +rapl ", text)
    assert "energy 148.500 uJ +-2.0% above idle power, by rapl" in (
        shell.run("tables", "show", LOGISTIC.key).stdout
    )
    (shown,) = shell.json("tables", "show", LOGISTIC.key)["platforms"]
    assert shown["energy"] == {
        "energy_uj": pytest.approx(148.5),
        "energy_error": pytest.approx(3 / 148.5),
        "energy_meter": "rapl",
    }


def test_a_colleagues_table(shell: Shell, tmp_path: Path) -> None:
    csv = tmp_path / "alice.csv"
    assert "1 rows written" in shell.run("tables", "export", csv).stdout
    assert csv.read_text() == shell.run("tables", "export", "-").stdout
    assert shell.json("tables", "import", csv) == {"added": 0, "known": 1, "beside_own": 0}
    other = tmp_path / "other.db"
    assert "1 rows imported" in shell.run("tables", "import", csv, "--tables", other).stdout
    priced = shell.json("predict", shell.model, "--no-measure-missing", "--tables", other)
    (operator,) = priced["operators"]
    assert (operator["origin"], operator["detail"]) == ("imported", "alice")
    shell.json("predict", shell.model, "--tables", other, "--backend", "builtin")
    assert "alice" in shell.run("tables", "--tables", other, "show", LOGISTIC.key).stdout
    assert "alice" in shell.run("tables", "show", "--tables", other).stdout


def test_a_colleagues_table_as_parquet(shell: Shell, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    file, csv = tmp_path / "alice.parquet", tmp_path / "alice.csv"
    assert "1 rows written" in shell.run("tables", "export", file).stdout
    assert shell.json("tables", "import", file) == {"added": 0, "known": 1, "beside_own": 0}
    other = tmp_path / "other.db"
    shell.run("tables", "import", file, "--tables", other)
    shell.run("tables", "export", csv, "--tables", other)
    mine = shell.run("tables", "export", "-").stdout
    assert csv.read_text() == mine.replace(",,,,,,\n", ",alice,,,,,\n")
    file.write_bytes(file.read_bytes()[:-9])
    refused = shell.run("tables", "import", file, code=INPUT)
    assert f"{file}: " in refused.stderr
    assert "nothing was imported" in refused.stderr


def test_parquet_without_pyarrow(
    shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "alice.parquet"
    file.write_bytes(b"PAR1")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for command in ("export", "import"):
        refused = shell.run("tables", command, file, code=USAGE)
        assert "pip install 'adaptd[parquet]'" in refused.stderr
    assert file.read_bytes() == b"PAR1"


def test_a_conflict_keeps_both_with_their_source(shell: Shell, tmp_path: Path) -> None:
    csv = tmp_path / "alice.csv"
    shell.run("tables", "export", csv)
    (mine,) = shell.json("tables", "show")[0]["entries"]
    text = csv.read_text()
    csv.write_text(text.replace(f",{mine['latency_us']!r},", ",123.5,"))
    assert shell.json("tables", "import", csv) == {"added": 1, "known": 0, "beside_own": 1}
    (platform,) = shell.json("tables", "show", LOGISTIC.key)["platforms"]
    # On a busy machine an attempt may be rejected before one is accepted.
    told = [each for each in platform["history"] if each["fate"] != "rejected"]
    assert [(o["fate"], o["detail"], o["answers"]) for o in told] in (
        [("accepted", "", True), ("imported", "alice", False)],
        [("imported", "alice", False), ("accepted", "", True)],
    )
    (listed,) = shell.json("tables")
    assert (listed["counts"]["entries"], listed["counts"]["imported"]) == (1, 1)
    assert shell.json("tables", "show")[0]["entries"] == [mine]


def test_show_what_was_learnt(shell: Shell) -> None:
    with Store(shell.table) as store:
        (platform,) = store.platforms()
        evidence = {"points": [[65536.0, 7.25], [1048576.0, 9.5]], "batches": [1, 2]}
        store.record_fact(platform, "l2_bytes", 524288.0, evidence)
        for name in ("pair PAD CONV_2D", "pair ADD RELU"):
            store.record_fact(platform, name, 1.0, {})
    (summary,) = shell.json("tables")
    assert summary["facts"]["l2_bytes"]["evidence"] == evidence
    listed = shell.run("tables").stdout
    assert re.search(r"l2_bytes +524,288 +20\d\d-", listed)
    assert re.search(r"of kinds of operators +2 facts +20\d\d-", listed)
    assert "PAD" not in listed
    (shown,) = shell.json("tables", "show", "--facts")
    assert shown["facts"]["l2_bytes"]["value"] == 524288.0
    text = shell.run("tables", "show", "--facts").stdout
    assert "l2_bytes = 524,288, learnt on " in text
    assert "     65,536  7.25\n    1,048,576   9.5\n" in text.replace(
        "       65,536", "     65,536"
    )
    assert "batches: [1, 2]" in text
    assert "pair PAD CONV_2D = 1, learnt on " in text


@pytest.mark.parametrize("name", ["history.svg", "history.png"])
def test_draw_a_history(shell: Shell, tmp_path: Path, name: str) -> None:
    picture = tmp_path / name
    shown = shell.run("tables", "show", LOGISTIC.key, "--plot", picture).stdout
    assert "accepted" in shown
    assert picture.stat().st_size > 1000
    shell.json("tables", "show", LOGISTIC.key, "--plot", picture)


def test_a_staircase(shell: Shell, tmp_path: Path) -> None:
    picture = tmp_path / "steps.svg"
    arguments = ("tables", "show", LOGISTIC.key, "--axis", "channels")
    (platform,) = shell.json(*arguments, "--plot", picture)["platforms"]
    (step,) = platform["steps"]
    assert (step["channels"], step["kernel"], step["answers"]) == (4096, LOGISTIC.text, True)
    assert "LOGISTIC, float32: time over channels" in picture.read_text()
    assert re.search(r"\* +4096 .* measured +" + LOGISTIC.key[:12], shell.run(*arguments).stdout)


def test_a_picture_is_of_one_platform(shell: Shell, tmp_path: Path) -> None:
    shell.process("predict", shell.model, "--backend", "builtin")
    picture = tmp_path / "history.svg"
    arguments = ("tables", "show", LOGISTIC.key, "--plot", picture)
    refused = shell.run(*arguments, code=USAGE).stderr
    assert "one platform" in refused
    assert not picture.exists()
    for key in re.findall(r"--platform ([0-9a-f]+)", refused):
        shell.run(*arguments, "--platform", key)
    assert picture.exists()


def test_a_failed_export_keeps_what_was_there(shell: Shell, tmp_path: Path) -> None:
    csv = tmp_path / "kept.csv"
    csv.write_text("years of work")
    shell.run("tables", "export", csv, "--platform", "zz", code=USAGE)
    assert csv.read_text() == "years of work"
    assert not list(tmp_path.glob("*.part"))


def test_a_bad_csv_changes_nothing(shell: Shell, tmp_path: Path) -> None:
    csv = tmp_path / "bad.csv"
    shell.run("tables", "export", csv)
    lines = csv.read_text().splitlines()
    csv.write_text("\n".join([*lines, lines[1].replace("LOGISTIC", "LOGIC")]) + "\nrubbish\n")
    refused = shell.run("tables", "import", csv, "--tables", tmp_path / "new.db", code=INPUT)
    assert f"{csv}: line 4: 1 fields" in refused.stderr
    assert not (tmp_path / "new.db").exists()
    csv.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in shell.run("tables", "import", csv, code=INPUT).stderr
    shell.run("tables", "import", tmp_path / "absent.csv", code=INPUT)
    named = shell.run("tables", "import", csv, "--source", "=1", code=INPUT)
    assert "source" in named.stderr


def test_verify(shell: Shell) -> None:
    assert "is sound" in shell.run("tables", "verify").stdout
    connection = sqlite3.connect(shell.table)
    connection.execute("UPDATE entry SET latency_us = 1e6")
    connection.commit()
    connection.close()
    refused = shell.run("tables", "verify", code=TABLE)
    assert f"{shell.table} is not sound: 1 fault(s)" in refused.stderr
    assert "says 1e+06 us" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "mention"),
    [
        (["tables", "--tables", "absent.db"], TABLE, "no table file absent.db"),
        (["tables", "show", "nonsense"], USAGE, "not a kernel"),
        (["tables", "show", "00000000"], USAGE, "no kernel"),
        (["tables", "show", "--platform", "zz"], USAGE, "0 platforms"),
        (
            ["tables", "show", LOGISTIC.key, "--axis", "out"],
            USAGE,
            "axes of channels are: channels",
        ),
        (["tables", "show", "--axis", "out"], USAGE, "--axis needs a KERNEL"),
        (["tables", "show", "--plot", "x.png"], USAGE, "--plot needs a KERNEL"),
        (["tables", "show", LOGISTIC.key, "--plot", "x.pdf"], USAGE, ".png or .svg"),
        (["tables", "show", LOGISTIC.key, "--plot", "/absent/x.png"], INPUT, "/absent/x.png"),
        (["tables", "show", "SHAPE(int32[1]) -> int32[1]", "--plot", "x.png"], USAGE, "never"),
        (["tables", "show", "SHAPE(int32[1]) -> int32[1]", "--axis", "in"], USAGE, "channels of S"),
        (["tables", "show", LOGISTIC.key, "--facts"], USAGE, "--facts is about platforms"),
        (["tables", "import", "/dev/zero"], INPUT, "/dev/zero: not a file"),
        (["tables", "export", "-", "--platform", ""], USAGE, "platforms"),
        (["tables", "export", "/absent/x.csv"], INPUT, "/absent/x.csv"),
        (["predict", "absent.tflite"], INPUT, "no file absent.tflite"),
        (["predict", __file__], INPUT, "test_tables.py: not a TensorFlow Lite model"),
        (["predict", "{model}", "--device", "toaster"], USAGE, "toaster"),
        (["predict", "{model}", "--platform", "00"], USAGE, "--platform goes with --offline"),
        (["predict", "{model}", "--core-mask", "all"], USAGE, "core mask"),
        (["predict", "{model}", "--agent-python", "/absent/python"], DEVICE, "/absent/python"),
        (["measure"], USAGE, "MODELS"),
        (["measure", "{model}", "absent.tflite"], INPUT, "no file absent.tflite"),
    ],
)
def test_mistakes(shell: Shell, arguments: list[str], code: int, mention: str) -> None:
    given = [argument.replace("{model}", str(shell.model)) for argument in arguments]
    assert mention in shell.run(*given, code=code).stderr
