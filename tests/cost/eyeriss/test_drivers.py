"""What `tools/bench/estimators.py` asks of other estimators, and how it reads their answers."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adapt.cost.eyeriss import load_hardware

SUPPORT = Path(__file__).parents[3] / "tools/bench/support"
ANSWER = {"name": "CONV1", "seconds": 0.5, "energy": 3e9, "cycles": 1000, "macs": 42.0}


@pytest.fixture(scope="module")
def drivers() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drivers", SUPPORT / "drivers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["drivers"] = module  # Where dataclasses look up annotations.
    spec.loader.exec_module(module)
    return module


def program(folder: Path, text: str) -> Path:
    path = folder / "driver.py"
    path.write_text(text)
    return path


def test_a_group_of_a_layer_is_asked_about(drivers: ModuleType, make_layer: Any) -> None:
    asked = drivers.question([make_layer(18, 3, 8, 16, groups=2)], load_hardware("eyeriss"), 4)
    assert asked["batch"] == 4
    assert asked["layers"] == [
        {
            "name": "layer",
            "channels": 4,
            "filters": 8,
            "out": [16, 16],
            "kernel": [3, 3],
            "stride": [1, 1],
        }
    ]
    assert asked["hardware"]["scratchpad_words"] == 12 + 224 + 24
    assert asked["hardware"]["dram_words_per_cycle"] == pytest.approx(480 / 200 / 2)


def test_one_scratchpad_for_all_is_passed_on_as_it_is(drivers: ModuleType) -> None:
    assert drivers.question([], load_hardware("isca16"), 1)["hardware"]["scratchpad_words"] == 256


def test_answers_are_read(drivers: ModuleType) -> None:
    assert drivers.parse_answer(json.dumps(ANSWER)) == drivers.Answer("CONV1", 0.5, 3e9, 1e3, 42)


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        json.dumps({"name": "CONV1"}),
        json.dumps({**ANSWER, "more": 1}),
        json.dumps({**ANSWER, "energy": float("nan")}),
        json.dumps({**ANSWER, "cycles": "many"}),
        json.dumps({**ANSWER, "name": 3}),
        json.dumps({**ANSWER, "macs": None}),
    ],
)
def test_what_is_no_answer_is_refused(drivers: ModuleType, line: str) -> None:
    with pytest.raises(ValueError, match="not an answer"):
        drivers.parse_answer(line)


def test_a_process_is_asked_and_may_say_other_things(drivers: ModuleType, tmp_path: Path) -> None:
    text = (
        "import json, sys\n"
        "print('hello')\n"
        "for each in json.load(sys.stdin)['layers']:\n"
        f"    print(json.dumps({{**{ANSWER!r}, 'name': each['name']}}))\n"
    )
    asked = {"layers": [{"name": "A"}, {"name": "B"}]}
    found = drivers.ask(sys.executable, program(tmp_path, text), asked, 60)
    assert [each.name for each in found] == ["A", "B"]


def test_what_is_known_at_the_limit_counts(drivers: ModuleType, tmp_path: Path) -> None:
    line = json.dumps(ANSWER)
    text = (
        f"import sys, time\nprint({line!r}, flush=True)\n"
        f"sys.stdout.write({line[:20]!r})\nsys.stdout.flush()\ntime.sleep(600)\n"
    )
    found = drivers.ask(sys.executable, program(tmp_path, text), {}, 3)
    assert [each.name for each in found] == ["CONV1"]


def test_a_tool_that_fails_is_named_with_its_reason(drivers: ModuleType, tmp_path: Path) -> None:
    driver = program(tmp_path, "import no_such_tool\n")
    with pytest.raises(SystemExit, match=r"driver\.py(?s:.*)no_such_tool"):
        drivers.ask(sys.executable, driver, {}, 60)
