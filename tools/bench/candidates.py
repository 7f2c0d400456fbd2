"""What a candidate costs: its score beside plain passes forward, and how many workers help.

    python tools/bench/candidates.py [--candidates 24] [--folder DIR]

With ResNet-8 (resnet8_cifar10.h5 of MLPerf Tiny in $ADAPT_SHARED/models, or a folder `shared`
beside the checkout), else the bundled network. Examples are random pixels: they take as long as
any. Prints

- the time of a candidate's score (cutting its weights, with filters that stand in for others; new
  statistics; the loss on held-out examples) over that of plain passes forward over as many;
- the time of ten training steps of a candidate, in the one traced function and as a Keras model of
  its own, which is traced anew;
- candidates a second, screened and fine-tuned for some steps: in one process with one thread and
  with two, and in two processes with one thread each; all outcomes must be the same at one thread.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adapt.executors.base import Task

SHARED = Path(os.environ.get("ADAPT_SHARED", Path(__file__).parents[3] / "shared"))
RESNET8 = SHARED / "models" / "resnet8_cifar10.h5"

# Name, executor, workers, threads of each.
ROWS = (
    ("one process, one thread", "here", 1, 1),
    ("one process, two threads", "here", 1, 2),
    ("two processes, one thread each", "processes", 2, 1),
)
BATCH, STEPS, TUNED_EVERY = 128, 10, 4
# As a search has them: for new statistics, and held out to screen.
EXAMPLES, HELD_OUT = 256, 768


class Lab:
    """A network with random examples, and candidates of it."""

    def __init__(self, threads: int) -> None:
        from adapt.telemetry import import_tensorflow

        import_tensorflow()
        import numpy as np

        from adapt.demo import MODEL
        from adapt.network.elastic import ElasticNetwork
        from adapt.network.groups import find_groups
        from adapt.network.load import load_model
        from adapt.network.shrink import read_weights
        from adapt.training.activations import Activations
        from adapt.training.data import Data, Split
        from adapt.training.finetune import Trainer, pin_threads

        pin_threads(threads)
        self.path = RESNET8 if RESNET8.exists() else MODEL
        self.model = model = load_model(self.path)
        self.groups, self.weights = find_groups(model), read_weights(model)
        random = np.random.default_rng(0)
        shape, classes = tuple(model.inputs[0].shape[1:]), int(model.outputs[0].shape[-1])

        def split(count: int) -> Split:
            inputs = random.integers(0, 256, (count, *shape), np.uint8)
            return Split(inputs, random.integers(0, classes, count).astype(np.int32))

        names = tuple(map(str, range(classes)))
        self.data = Data(split(2048), split(HELD_OUT), split(1), names, 1.0, 0.0, "")
        elastic = ElasticNetwork(model, self.groups)
        self.trainer = Trainer(elastic, self.data, batch=BATCH)
        self.activations = Activations(elastic, self.groups, self.data)
        self.as_many = split(EXAMPLES + HELD_OUT)

    def keep(self, number: int) -> dict[str, range]:
        """The filters of candidate `number`, half to all of them."""
        import numpy as np

        random = np.random.default_rng([1, number])
        return {
            group.name: range(int(random.integers(group.width // 2, group.width + 1)))
            for group in self.groups.groups
        }

    def cut(self, number: int) -> Any:
        """The weights of candidate `number`."""
        from adapt.network.shrink import slice_weights
        from adapt.training.compensation import compensated

        keep = self.keep(number)
        full = {group.name: range(group.width) for group in self.groups.groups}
        moments = self.activations.of(self.weights)
        readers = self.activations.readers
        weights = compensated(self.weights, self.groups, readers, moments, keep, full)
        return slice_weights(weights, self.groups, keep, full)

    def tasks(self, count: int) -> Iterator[Task]:
        """Candidates, of which some are fine-tuned."""
        from adapt.executors.base import Examples, Task
        from adapt.training.finetune import Checkpoint, Schedule

        for number in range(count):
            is_tuned = number % TUNED_EVERY == TUNED_EVERY - 1
            schedule = Schedule(0.001, STEPS, cosine=False) if is_tuned else None
            examples = Examples.DECIDING if is_tuned else Examples.SCREENING
            yield Task(Checkpoint(self.cut(number)), schedule, number, examples, renew=True)


def score_ratio(count: int) -> None:
    """Print the time of scores over that of plain passes forward."""
    lab = Lab(threads=1)
    lab.activations.of(lab.weights)
    times: dict[str, list[float]] = {"cut": [], "screened": [], "forward": []}
    for number in range(count + 2):
        started = time.perf_counter()
        weights = lab.cut(number)
        cut = time.perf_counter()
        lab.trainer.screened(weights)
        screened = time.perf_counter()
        lab.trainer.score(weights, lab.as_many)
        forward = time.perf_counter()
        if number < 2:  # Tracing.
            continue
        times["cut"].append(cut - started)
        times["screened"].append(screened - cut)
        times["forward"].append(forward - screened)
    middle = {name: statistics.median(values) for name, values in times.items()}
    ratio = (middle["cut"] + middle["screened"]) / middle["forward"]
    print(
        f"{lab.path.stem}: score {ratio:.2f} x plain passes forward over {EXAMPLES + HELD_OUT}"
        f" examples; {', '.join(f'{n} {1e3 * s:.0f} ms' for n, s in middle.items())}",
        flush=True,
    )


def one_graph(count: int) -> None:
    """Print the time of a few steps of new candidates, in one graph and as models of their own."""
    lab = Lab(threads=1)
    import keras

    from adapt.network import shrink
    from adapt.training.finetune import Checkpoint, Schedule

    x, y = (values[: STEPS * BATCH] for values in (lab.data.train.inputs, lab.data.train.labels))
    x = lab.data.prepared(x)
    times: dict[str, list[float]] = {"one graph": [], "a model each": []}
    for number in range(count + 1):
        weights = lab.cut(number)
        started = time.perf_counter()
        lab.trainer.train(Checkpoint(weights), Schedule(0.001, STEPS, cosine=False), seed=number)
        times["one graph"].append(time.perf_counter() - started)
        widths = {name: len(kept) for name, kept in lab.keep(number).items()}
        started = time.perf_counter()
        model = shrink.build(lab.model, lab.groups, widths)
        shrink.write_weights(model, weights)
        model.compile(keras.optimizers.Adam(0.001), "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=BATCH, shuffle=False, verbose=0)
        times["a model each"].append(time.perf_counter() - started)
    # The first is traced in both.
    middle = {name: statistics.median(values[1:]) for name, values in times.items()}
    told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in middle.items())
    print(f"{STEPS} steps of a candidate: {told}", flush=True)


def measure(executor: str, workers: int, threads: int, count: int, folder: Path) -> None:
    """Carry candidates out and print seconds and a digest of the outcomes as JSON."""
    lab = Lab(threads)
    from adapt.executors.here import Here
    from adapt.executors.processes import crew_of_processes
    from adapt.executors.worker import Recipe
    from adapt.network.load import file_digest
    from adapt.training.stored import store

    made: Any = Here(lab.trainer, lab.data)
    if executor == "processes":
        store(lab.data, folder)
        digest = file_digest(lab.path)
        recipe = Recipe(lab.path, digest, folder, BATCH, None, "adam", "none",
                        mixed=False, threads=threads)  # fmt: skip
        made = crew_of_processes(recipe, workers)
    try:
        list(made.run(lab.tasks(2 * TUNED_EVERY * workers)))  # Opening and tracing.
        started = time.perf_counter()
        digest = hashlib.sha256()
        for outcome in made.run(lab.tasks(count)):
            digest.update(repr(outcome.score).encode())
            if outcome.checkpoint is not None:
                for value in outcome.checkpoint.weights.values():
                    digest.update(value.tobytes())
        seconds = time.perf_counter() - started
    finally:
        made.close()
    print(json.dumps({"seconds": seconds, "digest": digest.hexdigest()}))


def main() -> None:
    """Measure each row in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=24)
    parser.add_argument("--measure", nargs=3, metavar=("EXECUTOR", "WORKERS", "THREADS"),
                        help=argparse.SUPPRESS)  # fmt: skip
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        executor, workers, threads = options.measure
        measure(executor, int(workers), int(threads), options.candidates, options.folder)
        return
    score_ratio(options.candidates)
    one_graph(max(options.candidates // 4, 1))
    found = {}
    for name, executor, workers, threads in ROWS:
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, __file__, "--candidates", str(options.candidates)]
            command += ["--folder", folder, "--measure", executor, str(workers), str(threads)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        row = found[name] = json.loads(done.stdout)
        speed = options.candidates / row["seconds"]
        gain = found[ROWS[0][0]]["seconds"] / row["seconds"]
        print(f"{name:32} {speed:6.2f} candidates/s, {gain:.2f} x", flush=True)
    same = found[ROWS[0][0]]["digest"] == found[ROWS[2][0]]["digest"]
    print("outcomes of one and of two processes:", "the same bits" if same else "DIFFERENT")
    sys.exit(0 if same else 1)


if __name__ == "__main__":
    main()
