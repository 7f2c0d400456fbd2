"""Networks on CIFAR-10 to half their latency: what a search takes, and what each part brings.

    python tools/bench/search.py [--rows adapt,light,...] [--seeds 1] [--folder DIR]
    python tools/bench/search.py --network resnet18 --budget latency=33% --folder DIR
    python tools/bench/search.py --official 400 --folder DIR

Needs ResNet-8 (resnet8_cifar10.h5 of MLPerf Tiny) and CIFAR-10 as JPEG files in class folders:
$ADAPT_SHARED, or a folder `shared` beside the checkout, with models/resnet8_cifar10.h5 and
data/cifar10-{train,test}.zip. ResNet-8 is fine-tuned on the JPEG files for 3 epochs first, since
it knows the original pixels; MobileNetV1 of 0.25 and 0.5 the width and a ResNet-18 of 0.125 the
width are trained from nothing. The networks, the table and the jobs stay in the folder if one is
given. All rows end with the same long fine-tune.

Prints a line for each run: seconds of search, of measuring and of the long fine-tune; measured and
predicted share of the original's latency; accuracy on the hold-out and the test split; widths. Then
the median of each row over the seeds. Of the row int8, latency and accuracies are those of the int8
files; `float-then-int8` is adapted to the budget in float32, then quantised. `--quick` takes few
steps. With `--official`, runs the paper's loop with the settings of its authors' scripts (500 short
steps, 10,000 held out) for so many seconds, and says what a proposal takes: at the beginning of a
search and, if the row `light` is in the folder, at its end, for so many seconds from what that made
of its first seed. Times the proposals of that row, it is what the whole search would take.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHARED = Path(os.environ.get("ADAPT_SHARED", Path(__file__).parents[3] / "shared"))

LIGHT = ("--method", "netadapt-paper")
STANDING_IN = ("--importance", "activation", "--compensate")

# What is left out or put in, by the name of the row.
ROWS: dict[str, tuple[str, ...]] = {
    "adapt": (),
    "adapt-labels": ("--no-distill",),
    "no-compensation": ("--no-compensate",),
    "l2": ("--importance", "l2"),
    "taylor": ("--importance", "taylor"),
    "fpgm": ("--importance", "fpgm"),
    "untried": ("--trial-steps=0", "--first-step=0.16", "--finalists=2"),
    "untuned": ("--trial-steps=0", "--short-steps=0", "--settling-steps=0", "--finalists=1"),
    "light": LIGHT,
    "light-labels": (*LIGHT, "--no-distill"),
    "light-standing-in": (*LIGHT, *STANDING_IN),
    "uniform": ("--method", "uniform"),
    "uniform-labels": ("--method", "uniform", "--no-distill"),
    "int8": ("--quantize", "int8"),
    "float-then-int8": (),
}

# Adapted to the budget in float32; what is told is what it comes to when it is quantised.
THEN_INT8 = "float-then-int8"

# Far fewer steps than anybody would take: enough to compare rows with each other.
QUICK = ("--trial-steps=8", "--short-steps=10", "--settling-steps=20", "--long-steps=100")

OFFICIAL = (*LIGHT, "--short-steps", "500", "--holdout", "0.2")

# Epochs and learning rate, in the batches of the program's default.
TRAINING = {
    "resnet8": (3, 0.001),
    "mobilenet-0.25": (12, 0.004),
    "mobilenet-0.5": (12, 0.004),
    "resnet18": (8, 0.003),
}
BATCH = 128


@dataclass(frozen=True)
class Bench:
    """Where everything is, and how runs are made."""

    folder: Path
    network: str
    budget: str
    threads: int

    def prepare(self) -> None:
        """The data as arrays and the network trained on it, unless they are there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.data.exists():
            for part in ("train", "test"):
                with zipfile.ZipFile(SHARED / "data" / f"cifar10-{part}.zip") as archive:
                    archive.extractall(self.folder)
            store(self.folder, self.data)
        if not self.model.exists():
            train(self.network, self.data, self.model)

    def run(self, name: str, seed: int, options: Sequence[str]) -> dict[str, Any]:
        """The result of one run."""
        done = subprocess.run(self._command(name, seed, options), stdout=subprocess.PIPE,
                              env=self._environment, text=True)  # fmt: skip
        if done.returncode:
            sys.exit(f"{name}, seed {seed}: adapt run ended with {done.returncode}, as said above")
        result: dict[str, Any] = json.loads(done.stdout)
        return result

    def quantised(self, name: str, seed: int) -> str:
        """What the networks of a float32 run come to in int8, in a line."""
        job = self._job(name, seed)
        models = {"original": self.model, "adapted": self.adapted(name, seed)}
        accuracies = quantise(models, job, self.data)
        files = [str(job / f"{each}-int8.tflite") for each in models]
        command = [sys.executable, "-m", "adapt", "measure", "--json", *files]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, env=self._environment, check=True, text=True
        )
        whole, latency = (each["latency_us"] for each in json.loads(done.stdout)["networks"])
        return (
            f"in int8: latency {latency / whole:.2%} measured, test {accuracies['adapted']:.2%}"
            f" of {accuracies['original']:.2%}"
        )

    def seconds_per_proposal(self, name: str, model: Path, seconds: float) -> float:
        """Of the official settings, from the iterations that are complete after so long."""
        job = self._job(name, 0)
        command = self._command(name, 0, OFFICIAL, model)
        process = subprocess.Popen(command, env=self._environment, stdout=subprocess.DEVNULL)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
        entries = sorted((job / "journal").glob("*.json"))
        last = json.loads(entries[-1].read_text()) if entries else {"state": {"history": ()}}
        proposals = sum(len(point["proposals"]) for point in last["state"]["history"])
        if not proposals:
            sys.exit(f"{name}: no iteration was complete after {seconds:g} s")
        return float(last["account"]["seconds"].get("search", 0.0)) / proposals

    @property
    def data(self) -> Path:
        """CIFAR-10 as arrays."""
        return self.folder / "cifar10.npz"

    @property
    def model(self) -> Path:
        """The network that is adapted."""
        return self.folder / f"{self.network}.keras"

    def adapted(self, name: str, seed: int) -> Path:
        """The network that a run ended with."""
        return self._job(name, seed) / "adapted.keras"

    def _job(self, name: str, seed: int) -> Path:
        return self.folder / "jobs" / f"{self.network}-{self.budget}-{name}-{seed}"

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "ADAPT_HOME": str(self.folder / "home")}

    def _command(
        self, name: str, seed: int, options: Sequence[str], model: Path | None = None
    ) -> list[str]:
        return [
            *(sys.executable, "-m", "adapt", "run", "--json", "--budget", self.budget),
            *("--model", str(model or self.model), "--data", str(self.data)),
            *("--threads", str(self.threads), "--seed", str(seed), *options),
            *("--output", str(self._job(name, seed))),
        ]


def store(folder: Path, path: Path) -> None:
    """Write the JPEG files below `folder` as arrays."""
    import numpy as np

    from adapt.training.images import read_folder

    train, test, _ = read_folder(folder / "cifar10", (32, 32, 3), resize=False)
    assert test is not None
    np.savez(path, x_train=train.inputs, y_train=train.labels,
             x_test=test.inputs, y_test=test.labels)  # fmt: skip


def train(network: str, source: Path, path: Path) -> None:
    """Write `network`, after so many epochs on the examples of `source`."""
    from adapt.telemetry import import_tensorflow

    import_tensorflow()
    import keras

    from adapt.network import shrink
    from adapt.network.elastic import ElasticNetwork
    from adapt.network.groups import find_groups
    from adapt.network.load import load_model
    from adapt.training.augmentation import Augmentation
    from adapt.training.data import DataOptions, load_data
    from adapt.training.finetune import Checkpoint, Schedule, Trainer

    keras.utils.set_random_seed(1)
    data = load_data(str(source), (32, 32, 3), 10, DataOptions())
    model, augmentation = {
        "resnet8": lambda: (load_model(SHARED / "models" / "resnet8_cifar10.h5"), "none"),
        "mobilenet-0.25": lambda: (mobilenet(0.25), "flip"),
        "mobilenet-0.5": lambda: (mobilenet(0.5), "flip"),
        "resnet18": lambda: (resnet18(), "flip"),
    }[network]()
    trainer = Trainer(ElasticNetwork(model, find_groups(model)), data, batch=BATCH,
                      augmentation=Augmentation(augmentation))  # fmt: skip
    epochs, rate = TRAINING[network]
    schedule = Schedule(rate, epochs * (len(data.train) // BATCH), cosine=True)
    tuned = trainer.train(Checkpoint(shrink.read_weights(model)), schedule, seed=1)
    shrink.write_weights(model, tuned.weights)
    model.save(path)


def mobilenet(width: float) -> Any:
    """MobileNetV1 (Howard et al., 2017), times `width`; at full size up to its second layer."""
    import keras
    from keras import layers

    def normalised(y: Any) -> Any:
        return layers.ReLU()(layers.BatchNormalization()(y))

    image = keras.Input((32, 32, 3))
    y = layers.Rescaling(1 / 127.5, -1.0)(image)
    y = normalised(layers.Conv2D(int(32 * width), 3, padding="same", use_bias=False)(y))
    for channels, stride in ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
                             *[(512, 1)] * 5, (1024, 2), (1024, 1)):  # fmt: skip
        y = layers.DepthwiseConv2D(3, stride, padding="same", use_bias=False)(y)
        y = normalised(layers.Conv2D(int(channels * width), 1, use_bias=False)(normalised(y)))
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(image, layers.Dense(10, activation="softmax")(y))


def resnet18() -> Any:
    """ResNet-18 (He et al., CVPR 2016) of 0.125 the width, with its form for small images."""
    import keras
    from keras import layers

    def convolved(y: Any, channels: int, size: int, stride: int = 1) -> Any:
        y = layers.Conv2D(channels, size, stride, padding="same", use_bias=False)(y)
        return layers.BatchNormalization()(y)

    image = keras.Input((32, 32, 3))
    y = layers.Rescaling(1 / 127.5, -1.0)(image)
    y = layers.ReLU()(convolved(y, 8, 3))
    for channels, stride in ((8, 1), (8, 1), (16, 2), (16, 1), (32, 2), (32, 1), (64, 2), (64, 1)):
        shortcut = y if y.shape[-1] == channels else convolved(y, channels, 1, stride)
        inner = layers.ReLU()(convolved(y, channels, 3, stride))
        y = layers.ReLU()(layers.Add()([convolved(inner, channels, 3), shortcut]))
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model(image, layers.Dense(10, activation="softmax")(y))


def quantise(models: dict[str, Path], folder: Path, source: Path) -> dict[str, float]:
    """Write <name>-int8.tflite of each to `folder`; what they get right of the test split."""
    from adapt.telemetry import import_tensorflow

    import_tensorflow()
    from adapt.job.sitting import calibration
    from adapt.network.export import to_tflite
    from adapt.network.load import load_model
    from adapt.training.data import DataOptions, load_data
    from adapt.training.evaluate import tflite_score

    data = load_data(str(source), (32, 32, 3), 10, DataOptions())
    accuracies = {}
    for name, path in models.items():
        content = to_tflite(load_model(path), calibration(data))
        (folder / f"{name}-int8.tflite").write_bytes(content)
        accuracies[name] = tflite_score(content, data, data.test, gives_logits=False).accuracy
    return accuracies


def describe(result: dict[str, Any]) -> str:
    """One run in a line."""
    original, adapted = result["networks"][:2]
    seconds = result["seconds"]
    whole = original["measured"]["latency"]["latency_us"]
    predicted = [sum(n["cost"]["latency"].values()) for n in (adapted, original)]
    return (
        f"search {seconds.get('search', 0):5.1f} s, measuring {seconds.get('measuring', 0):5.1f} s,"
        f" long fine-tune {seconds.get('finish', 0):5.1f} s;"
        f" latency {adapted['measured']['latency']['latency_us'] / whole:.2%} measured,"
        f" {predicted[0] / predicted[1]:.2%} predicted;"
        f" hold-out {adapted['holdout_accuracy']:.2%}, test {adapted['test_accuracy']:.2%}"
        f" of {original['test_accuracy']:.2%};"
        f" {sum(len(p['proposals']) for p in result['history'])} proposals,"
        f" {adapted['steps_trained']} steps; widths {list(adapted['widths'].values())}"
    )


def median(results: Iterable[dict[str, Any]]) -> str:
    """Median and range of test accuracy and seconds of search."""
    results = list(results)
    accuracies = [r["networks"][1]["test_accuracy"] for r in results]
    seconds = [r["seconds"].get("search", 0.0) for r in results]
    return (
        f"test {statistics.median(accuracies):.2%} ({min(accuracies):.2%} to"
        f" {max(accuracies):.2%}), search {statistics.median(seconds):.0f} s"
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", choices=TRAINING, default="resnet8")
    parser.add_argument("--rows", default="adapt,light,uniform", help=f"any of {', '.join(ROWS)}")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", default="latency=50%")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--official", type=float, metavar="SECONDS")
    arguments = parser.parse_args()
    if not (SHARED / "models" / "resnet8_cifar10.h5").exists():
        sys.exit(f"skipped: no ResNet-8 under {SHARED}")
    rows = arguments.rows.split(",")
    if unknown := set(rows) - set(ROWS):
        sys.exit(f"no such rows: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(arguments.folder or Path(temporary), arguments.network, arguments.budget,
                      arguments.threads)  # fmt: skip
        bench.prepare()
        if arguments.official:
            ends = {"beginning": bench.model, "end": bench.adapted("light", arguments.first_seed)}
            for end, model in ends.items():
                if model.exists():
                    name = f"official-{end}"
                    seconds = bench.seconds_per_proposal(name, model, arguments.official)
                    print(f"official settings, {end}: {seconds:.1f} s for each proposal")
            return
        for row in rows:
            results = []
            for seed in range(arguments.first_seed, arguments.first_seed + arguments.seeds):
                options = (*ROWS[row], *(QUICK if arguments.quick else ()))
                results.append(bench.run(row, seed, options))
                print(f"{row:16} seed {seed}: {describe(results[-1])}", flush=True)
                if row == THEN_INT8:
                    print(f"{row:16} seed {seed}: {bench.quantised(row, seed)}")
            if len(results) > 1:
                print(f"{row:16} median: {median(results)}", flush=True)


if __name__ == "__main__":
    main()
