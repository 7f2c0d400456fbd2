"""What int8 does to networks that lost filters: losses beside those in float32, and their ranks.

    python tools/bench/int8.py [--model FILE --data DATA] [--cuts 15] [--least 0.5] [--steps 30]

Cuts a network, the bundled one unless another is given, to random widths from `--least` to all of
each group, as a search does: filters by the rule `activation`, with those that stay standing in for
those that go and without, new statistics of batch normalisations, no training. Each is scored on
768 held-out examples in float32 and as the int8 .tflite that it converts to. The first three are
then fine-tuned and scored again.

Prints a line for each cut, the rank correlations (Spearman) of the two losses, the largest weight
beside the median one of the worst kernel, and what converting and scoring take.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from adapt.telemetry import import_tensorflow

import_tensorflow()

from adapt.cost.pricer import Pricer  # noqa: E402
from adapt.demo import MODEL  # noqa: E402
from adapt.executors.here import Here  # noqa: E402
from adapt.job.sitting import calibration  # noqa: E402
from adapt.methods import METHODS  # noqa: E402
from adapt.methods.base import Bench, Settings, full_keep  # noqa: E402
from adapt.network.elastic import ElasticNetwork  # noqa: E402
from adapt.network.load import Network, load_model  # noqa: E402
from adapt.network.shrink import Keep, Weights  # noqa: E402
from adapt.training.activations import Activations  # noqa: E402
from adapt.training.data import DataOptions, Split, load_data  # noqa: E402
from adapt.training.finetune import Checkpoint, Trainer, pin_threads  # noqa: E402
from adapt.training.importance import Importance, strongest  # noqa: E402

SCREENED = 768
TUNED = 3


def opened(model: Path, source: str, steps: int) -> Bench:
    """A bench of the int8 network, as a job has it."""
    plain = load_model(model)
    shape, outputs = tuple(plain.inputs[0].shape[1:]), int(plain.outputs[0].shape[-1])
    data = load_data(source, shape, outputs, DataOptions())
    network = Network(plain, quantized_samples=calibration(data))
    elastic = ElasticNetwork(plain, network.groups)
    activations = Activations(elastic, network.groups, data)
    settings = Settings(short_steps=steps).settled(METHODS["netadapt"].defaults)
    trainer = Trainer(elastic, data, batch=settings.batch)
    return Bench(
        network=network,
        data=data,
        trainer=trainer,
        executor=Here(trainer, data),
        importance=Importance(elastic, network.groups, data, activations),
        activations=activations,
        pricer=Pricer(network, (), ("params",)),
        settings=settings,
        seed=0,
        notify=print,
    )


def ranks(values: Sequence[float]) -> np.ndarray:
    """The place of each among all, from 0."""
    return np.argsort(np.argsort(values))


def correlation(left: Sequence[float], right: Sequence[float]) -> float:
    """Spearman's, without ties."""
    return float(np.corrcoef(ranks(left), ranks(right))[0, 1])


def spread(weights: dict[tuple[str, int], np.ndarray]) -> float:
    """The largest weight of any kernel as a multiple of the kernel's median one."""
    kernels = [np.abs(w) for w in weights.values() if w.ndim > 1]
    return max(float(k.max() / max(np.median(k), 1e-9)) for k in kernels)


def main() -> None:
    """Cut, score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--data", default="adapt.demo:digits")
    parser.add_argument("--cuts", type=int, default=15)
    parser.add_argument("--least", type=float, default=0.5)
    parser.add_argument("--steps", type=int, default=30)
    arguments = parser.parse_args()
    pin_threads(1)
    both = opened(arguments.model, arguments.data, arguments.steps)
    network, split = both.network, both.data.holdout.evenly(SCREENED)
    whole = Checkpoint(network.weights)
    full = full_keep(network)
    importance = both.important(whole, full)
    random = np.random.default_rng(0)
    cuts = []
    for _ in range(arguments.cuts):
        widths = {g.name: max(g.least, round(g.width * random.uniform(arguments.least, 1)))
                  for g in network.groups.groups}  # fmt: skip
        cuts.append({n: strongest(importance, full, n, w, network.groups)
                     for n, w in widths.items()})  # fmt: skip
    show("the network as it is", both, full, network.weights, split)
    for compensate in (False, True):
        settings = both.settings.model_copy(update={"compensate": compensate})
        bench = dataclasses.replace(both, settings=settings)
        print("standing in:" if compensate else "not standing in:")
        pairs = []
        for keep in cuts:
            weights = bench.trainer.renewed(bench.cut(keep, whole, full))
            pairs.append(show(str([*map(len, keep.values())]), bench, keep, weights, split))
        print(f"Spearman of the losses {correlation(*zip(*pairs, strict=True)):.3f}")
        for keep in cuts[:TUNED]:
            start = Checkpoint(bench.cut(keep, whole, full))
            (outcome,) = bench.executor.run([bench.tuning(start, "tuned")])
            assert outcome.checkpoint is not None
            tuned = bench.trainer.renewed(outcome.checkpoint.weights)
            show(f"{arguments.steps} steps", bench, keep, tuned, split)


def show(
    what: str, bench: Bench, keep: Keep, weights: Weights, split: Split
) -> tuple[float, float]:
    """Print a line; the losses in float32 and in int8."""
    real = bench.trainer.score(weights, split)
    began = time.perf_counter()
    stored = bench.score(keep, weights, split)
    seconds = time.perf_counter() - began
    print(
        f"  {what:28} loss {real.loss:.3f} float32, {stored.loss:.3f} int8; accuracy"
        f" {real.accuracy:.1%}, {stored.accuracy:.1%}; spread {spread(weights):.0f};"
        f" {seconds:.2f} s",
        flush=True,
    )
    return real.loss, stored.loss


if __name__ == "__main__":
    main()
