"""`adapt estimate` beside what else one would run: other estimators, or mappings at random.

    python tools/bench/estimators.py [--nn-dataflow PYTHON] [--zigzag PYTHON] [--network NAME]
        [--batch N] [--hardware NAME] [--repeats N] [--limit SECONDS] [--brute-seconds SECONDS]

PYTHON is that of an environment of its own with the tool in it; `tools/bench/support/*_driver.py`
says which version, how to install it, and how it is told the accelerator. Prints for each layer the
seconds, and the energy and cycles of a batch, ours first, then theirs and their ratio to ours.
Seconds are those of one process on one core, imports aside and nothing known, medians of repeats
where a run takes less than a minute. Of grouped layers one group is searched, of equal layers one.

Without other tools it compares with what one writes in an afternoon: mappings of one layer drawn at
random and priced one by one, by the same formulas.
"""

from __future__ import annotations

import argparse
import math
import os
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scipy.stats import spearmanr
from support.drivers import Answer, ask, question

from adapt.cost.eyeriss import Hardware, Layer, Settings, estimate_layer, load_hardware
from adapt.cost.eyeriss.energy import energies
from adapt.cost.eyeriss.mapping import Mapping, legal
from adapt.cost.eyeriss.policies import POLICIES
from adapt.cost.eyeriss.shape_lists import built_in_lists, read_built_in
from adapt.cost.eyeriss.traffic import traffic

SUPPORT = Path(__file__).with_name("support")
# A tool that takes longer is run once.
QUICK_S = 60
DRIVERS = {"nn_dataflow": "nn_dataflow_driver.py", "zigzag": "zigzag_driver.py"}


@dataclass(frozen=True)
class Tried:
    """Mappings tried one by one: how many of how many there are, the least energy, seconds."""

    count: int
    all: int
    least: float
    seconds: float


def distinct(layers: Sequence[Layer]) -> list[Layer]:
    """The layers that differ, the first of each kind; every tool is asked about these."""
    return list(dict.fromkeys(layers))


def ours(layers: Sequence[Layer], hardware: Hardware, batch: int) -> list[Answer]:
    """This program's answers, for one group and the whole batch as the others give them."""
    estimate_layer.cache_clear()
    answers = []
    for layer in layers:
        group = layer.one_group()
        start = time.perf_counter()
        found = estimate_layer(group, hardware, Settings(batch=batch))
        seconds = time.perf_counter() - start
        cycles = found.latency_us * hardware.clock_mhz * batch
        answers.append(
            Answer(layer.name, seconds, found.total * batch, cycles, float(group.macs * batch))
        )
    return answers


def medians(runs: Sequence[Sequence[Answer]]) -> list[Answer]:
    """The last run with the median seconds of each layer, of layers that all runs have."""
    return [
        replace(each[-1], seconds=statistics.median(answer.seconds for answer in each))
        for each in zip(*runs, strict=False)
    ]


def try_some(layer: Layer, hardware: Hardware, batch: int, limit_s: float) -> Tried:
    """Mappings of one group of `layer` drawn at random, one by one in plain Python.

    The bounds are those that anybody would see: sizes of the layer, scratchpads and the array.
    """
    group = layer.one_group()
    ends = (
        group.filters,
        batch,
        group.out_height,
        min(hardware.psum_words, group.filters),
        max(1, min(hardware.ifmap_words // group.kernel_width, group.channels)),
        hardware.rows,
        hardware.rows * hardware.columns,
    )
    movement, settings = POLICIES["optimal"].movement, Settings(batch=batch)
    draw = random.Random(0).randint
    count, least = 0, float("inf")
    start = time.perf_counter()
    while time.perf_counter() - start < limit_s:
        mapping = Mapping(*(draw(1, end) for end in ends))
        count += 1
        if legal(group, hardware, mapping, batch):
            moved = traffic(group, hardware, mapping, batch, movement)
            least = min(least, float(sum(energies(group, hardware, settings, moved).values())))
    return Tried(count, math.prod(ends), least, time.perf_counter() - start)


def show(tool: str, layers: Sequence[Layer], mine: Sequence[Answer], other: list[Answer]) -> None:
    """A line a layer, totals of the layers that both know, and whether they order them alike."""
    groups = {layer.name: layer.groups for layer in layers}
    print(f"\n{tool}: seconds ours and theirs; energy in MACs, cycles; their ratio")
    pairs = list(zip(mine, other, strict=False))
    for a, b in pairs:
        if a.name != b.name or a.macs != round(b.macs):
            raise SystemExit(f"{tool} answers for {b.name} of {b.macs:.0f} MACs, not {a}")
        print(
            f"{a.name[:24]:>24} {a.seconds:8.4f} {b.seconds:8.2f}"
            f"  {a.energy:10.4g} {b.energy:10.4g} {b.energy / a.energy:5.2f}"
            f"  {a.cycles:10.4g} {b.cycles:10.4g} {b.cycles / a.cycles:5.2f}"
            f"  groups: {groups[a.name]}"
        )
    if len(other) < len(mine):
        print(f"{len(mine) - len(other)} layers were not answered within the limit")
    if not pairs:
        return
    seconds = [sum(each.seconds for each in side) for side in zip(*pairs, strict=True)]
    energy = [sum(e.energy * groups[e.name] for e in side) for side in zip(*pairs, strict=True)]
    print(
        f"all: {seconds[0]:.3f} s and {seconds[1]:.1f} s, {seconds[1] / seconds[0]:.0f} times;"
        f" energy {energy[1] / energy[0]:.3f} of ours; MACs are equal"
    )
    if len(pairs) > 2:
        sides = [[e.energy * groups[e.name] for e in side] for side in zip(*pairs, strict=True)]
        print(f"order of layers by energy: rank correlation {spearmanr(*sides).statistic:.2f}")


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description="adapt estimate beside other estimators")
    for tool in DRIVERS:
        parser.add_argument(f"--{tool.replace('_', '-')}", metavar="PYTHON")
    parser.add_argument("--network", default="alexnet", choices=built_in_lists())
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--hardware", default="eyeriss")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--limit", type=float, default=900, help="seconds for one run of a tool")
    parser.add_argument("--layer", default="CONV3", help="for the loop over all mappings")
    parser.add_argument("--brute-seconds", type=float, default=20)
    return parser.parse_args()


def main() -> None:
    """Print everything."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # Those it starts stay there, too.
    chosen = options()
    hardware = load_hardware(chosen.hardware)
    layers = distinct(read_built_in(chosen.network).layers)
    mine = medians([ours(layers, hardware, chosen.batch) for _ in range(chosen.repeats)])
    print(f"{chosen.network}, batch of {chosen.batch}, {chosen.hardware}, {len(layers)} layers")
    for answer in mine:
        print(f"{answer.name[:24]:>24} {1e3 * answer.seconds:7.2f} ms")
    print(f"ours, in all: {sum(each.seconds for each in mine):.4f} s")
    for layer, answer in zip(layers, mine, strict=True):
        if layer.name == chosen.layer:
            tried = try_some(layer, hardware, chosen.batch, chosen.brute_seconds)
            hours = tried.seconds * tried.all / tried.count / 3600
            print(
                f"\n{layer.name}, {tried.count} mappings at random in {tried.seconds:.0f} s:"
                f" the best {tried.least / answer.energy:.3f} of ours;"
                f" all {tried.all} at this pace: {hours:.0f} h"
            )
    asked = question(layers, hardware, chosen.batch)
    for tool, driver in DRIVERS.items():
        python = getattr(chosen, tool)
        if python is None:
            print(f"\n{tool}: not run, give its Python with --{tool.replace('_', '-')}")
            continue
        runs = [ask(python, SUPPORT / driver, asked, chosen.limit)]
        if sum(each.seconds for each in runs[0]) < QUICK_S:
            runs += [
                ask(python, SUPPORT / driver, asked, chosen.limit)
                for _ in range(chosen.repeats - 1)
            ]
        show(tool, layers, mine, medians(runs))


if __name__ == "__main__":
    main()
