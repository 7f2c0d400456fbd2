"""What a finished run leaves and prints."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from adapt.demo import digits_arrays
from adapt.network.groups import find_groups
from adapt.tflite.reader import read_model
from adapt.training.data import DataOptions, load_data
from adapt.training.evaluate import tflite_score
from adapt.training.finetune import pin_threads
from lookup_tables import Store

if TYPE_CHECKING:
    from conftest import Adapt, Finished

    Reference = tuple[Adapt, Path, Finished]

# Predicted and measured latency of one network agree within a few percent on a quiet machine. This
# only tells a network of half the cost from the original.
CLEARLY_LESS = 0.8
# Of the limit; the small groups of the bundled network leave few networks to choose from, and where
# the machine's speed changes during the search the nearest is taken.
LEAST_USED, MOST_USED = 0.75, 1.05
ESCAPE, RETURN = "\x1b", "\r"


@pytest.fixture(scope="module", autouse=True)
def pinned() -> None:
    pin_threads(1)


def result(job: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((job / "job.json").read_text())["result"]
    return values


def total(network: dict[str, Any], resource: str) -> float:
    return float(sum(network["cost"][resource].values()))


def run_tflite(content: bytes, inputs: np.ndarray) -> np.ndarray:
    """Outputs of a float32 .tflite with batch 1 for `inputs` [N, ...]."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    outputs = []
    for example in inputs:
        interpreter.set_tensor(source["index"], example[None])
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(target["index"])[0].copy())
    return np.stack(outputs)


def test_json_is_the_result_and_nothing_else_is_on_stdout(reference: Reference) -> None:
    _, job, finished = reference
    assert json.loads(finished.out) == result(job)
    assert "{" not in finished.err


def test_progress_is_plain_lines_where_there_is_no_terminal(reference: Reference) -> None:
    _, job, finished = reference
    assert ESCAPE not in finished.err
    assert RETURN not in finished.err
    lines = finished.err.splitlines()
    assert f"job {job}" in lines
    iterations = len(result(job)["history"])
    for number in range(iterations):
        assert sum(line.startswith(f"iteration {number}") and ": latency" in line for line in lines)
    assert [line for line in lines if line.startswith("fine-tuning: 200")]


def test_files_of_the_results(reference: Reference) -> None:
    _, job, _ = reference
    names = {path.name for path in job.iterdir()}
    assert names == {
        "adapted.keras",
        "adapted.tflite",
        "original.tflite",
        "family",
        "job.json",
        "journal",
        "lock",
        "prices.jsonl",
        "report.html",
    }
    for network in result(job)["networks"]:
        content = (job / f"{network['name']}.tflite").read_bytes()
        assert hashlib.sha256(content).hexdigest() == network["measured"]["latency"]["sha256"]
    kept = sorted(path.stem for path in (job / "journal").glob("*.npz"))
    steps = sorted(path.stem for path in (job / "journal").glob("*.json"))
    assert kept == steps[-2:]


def test_the_budget_is_met(reference: Reference) -> None:
    _, job, _ = reference
    values = result(job)
    original, adapted = values["networks"]
    found = values["history"][-1]
    # As the whole network was timed, in the hour of the search.
    measured = sum(found["measured"]["latency"].values())
    assert LEAST_USED <= measured / values["limits"]["latency"] <= MOST_USED
    assert adapted["widths"] == {name: len(kept) for name, kept in found["keep"].items()}
    assert (
        adapted["measured"]["latency"]["latency_us"]
        < CLEARLY_LESS * original["measured"]["latency"]["latency_us"]
    )
    # Both are of the last minute: what the search saw was measured earlier.
    assert total(adapted, "latency") < CLEARLY_LESS * total(original, "latency")
    assert adapted["steps_trained"] == 250 + (3 + 2) * (len(values["history"]) - 1)


def test_the_table_knows_what_was_used(reference: Reference) -> None:
    """In the search, or to interpolate for it, or in a network that is compared: once a job."""
    adapt, job, _ = reference
    with Store(adapt.table) as store:
        (platform,) = store.platforms()
        uses = store.uses(platform)
        entries = store.entries(platform)
        assert set(uses) <= set(entries)
        # A few were measured for proposals whose prices then rested on others.
        assert len(uses) > 0.9 * len(entries)
    operators = read_model((job / "adapted.tflite").read_bytes()).operators
    assert {uses[node.kernel] for node in operators} == {1}
    assert set(uses.values()) == {1}


def test_keras_and_tflite_are_the_same_network(reference: Reference) -> None:
    _, job, _ = reference
    model = keras.models.load_model(job / "adapted.keras")
    _, _, x_test, y_test = digits_arrays()
    expected = model.predict(x_test, verbose=0)
    outputs = run_tflite((job / "adapted.tflite").read_bytes(), x_test)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
    accuracy = float((expected.argmax(axis=1) == y_test).mean())
    assert accuracy == pytest.approx(result(job)["networks"][1]["test_accuracy"], abs=1.5 / 450)


def test_the_family_has_each_iteration(reference: Reference) -> None:
    _, job, _ = reference
    history = result(job)["history"]
    files = sorted((job / "family").iterdir())
    assert [file.name for file in files] == [
        f"iteration-{point['number']:02d}.keras" for point in history[1:]
    ]
    for file, point in zip(files, history[1:], strict=True):
        model = keras.models.load_model(file)
        widths = {name: len(kept) for name, kept in point["keep"].items()}
        assert find_groups(model).widths == widths
    assert model.count_params() == total(result(job)["networks"][1], "params")


def watch(descriptor: int, seen: list[bytes]) -> None:
    """Collect what is written to the terminal, until its last user is gone."""
    while True:
        try:
            chunk = os.read(descriptor, 4096)
        except OSError:
            return
        if not chunk:
            return
        seen.append(chunk)


def test_exact_budgets_and_a_terminal(adapt: Adapt) -> None:
    """What is counted holds to the last byte; on a terminal there is a live line."""
    budgets = ["macs=60%", "params=60%", "size=70%", "memory=100%"]
    program = str(Path(sys.executable).with_name("adapt"))
    command = [program, "run", *adapt.DEMO, "--json"]
    command += [f"--budget={text}" for text in budgets]
    command += [
        "--first-step=0.3",
        "--trial-steps=2",
        "--short-steps=1",
        "--settling-steps=1",
        "--long-steps=1",
    ]
    terminal, side = os.openpty()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=side,
        cwd=adapt.folder,
        env={**os.environ, **adapt.env, "TERM": "xterm"},
    )
    os.close(side)
    seen: list[bytes] = []
    watcher = threading.Thread(target=watch, args=(terminal, seen))
    watcher.start()
    out, _ = process.communicate(timeout=300)
    watcher.join()
    os.close(terminal)
    shown = b"".join(seen).decode()
    assert process.returncode == 0, shown
    assert ESCAPE in shown
    # What went on last is drawn at the end; what was over within a tenth of a second need not be.
    assert "scoring on the test split" in shown
    assert "iteration 1, " in shown

    values = json.loads(out)
    _, adapted = values["networks"]
    assert set(values["limits"]) == {"macs", "params", "size", "memory"}
    for resource, limit in values["limits"].items():
        assert total(adapted, resource) <= limit
    job = adapt.jobs / "digits-1"
    assert total(adapted, "size") == len((job / "adapted.tflite").read_bytes())
    model = keras.models.load_model(job / "adapted.keras")
    assert total(adapted, "params") == model.count_params()
    original, _ = values["networks"]
    assert total(original, "size") == len((job / "original.tflite").read_bytes())


def test_int8(adapt: Adapt) -> None:
    """The int8 network is priced, exported and measured; a second run has its own folder."""
    (adapt.jobs / "digits-1").mkdir(parents=True)
    finished = adapt.quick(
        "run", *adapt.DEMO, "--quantize=int8", "--method=uniform", "--budget=latency=60%",
        "--long-steps=200", "--json",
    )  # fmt: skip
    assert finished.code == 0, finished.err
    job = adapt.jobs / "digits-2"
    values = json.loads(finished.out)
    original, adapted = values["networks"]
    interpreter = Interpreter(model_content=(job / "adapted.tflite").read_bytes())
    for details in (*interpreter.get_input_details(), *interpreter.get_output_details()):
        assert details["dtype"] is np.int8
    assert total(values["history"][-1], "latency") <= values["limits"]["latency"]
    assert (
        adapted["measured"]["latency"]["latency_us"] < original["measured"]["latency"]["latency_us"]
    )
    assert total(adapted, "size") == len((job / "adapted.tflite").read_bytes())
    # Accuracies are those of the files, which are right nearly as often as in float32.
    assert values["precision"] == "int8"
    data = load_data("adapt.demo:digits", (8, 8, 1), 10, DataOptions())
    for network in (original, adapted):
        content = (job / f"{network['name']}.tflite").read_bytes()
        for name, split in (("holdout", data.holdout), ("test", data.test)):
            score = tflite_score(content, data, split, gives_logits=False)
            assert network[f"{name}_accuracy"] == score.accuracy
            beside = network[f"float_{name}_accuracy"]
            assert beside == pytest.approx(score.accuracy, abs=0.03)
            if network is adapted:
                model = keras.models.load_model(job / "adapted.keras", compile=False)
                right = model.predict(split.inputs, verbose=0).argmax(axis=1) == split.labels
                assert beside == pytest.approx(right.mean(), abs=1.5 / len(split))
    assert adapted["test_accuracy"] > 0.5


def test_another_output_folder_and_the_summary(adapt: Adapt) -> None:
    finished = adapt.quick(
        "run", *adapt.DEMO, "--method=uniform", "--budget=params=50%", "--long-steps=0",
        "--output=here/results",
    )  # fmt: skip
    assert finished.code == 0, finished.err
    job = adapt.folder / "here" / "results"
    assert "budget params=50%" in finished.out
    assert "here/results/adapted.tflite" in finished.out
    assert (job / "report.html").stat().st_size > 0
    assert not adapt.jobs.exists()
