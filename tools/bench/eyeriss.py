"""The Eyeriss model beside published figures, and how long it takes.

    python tools/bench/eyeriss.py

Prints each layer of the figures beside what is published, then the seconds that each network that
comes along takes at several batch sizes, and a proposal that changes one layer of ResNet-50.
Times are those of one process on one core, imports aside.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from adapt.cost.eyeriss import Layer, Operand, Settings, estimate, estimate_layer, load_hardware
from adapt.cost.eyeriss.mapping import Mapping
from adapt.cost.eyeriss.shape_lists import built_in_lists, read_built_in

PUBLISHED = Path(__file__).with_name("support") / "eyeriss_published.json"
CHIP = load_hardware("eyeriss")
LEVELS = ("mac", "dram", "buffer", "array", "scratchpad")
DATA = ("ifmap", "ofmap", "weight", "computation")
BATCHES = (1, 4, 16, 48)
REPEATS = 5


def line(name: str, ours: Sequence[float], published: Sequence[float]) -> None:
    """One row: our total, the published one, and ours as a share of it, in all and in parts."""
    whole, known = sum(ours), sum(published)
    shares = " ".join(
        f"{a / b:6.3f}" if b else "     -" for a, b in zip(ours, published, strict=True)
    )
    print(f"{name:>12} {whole:11.4g} {known:11.4g} {whole / known:6.3f}  {shares}")


def analysis(published: Any) -> None:
    """Figure 10 of ISCA 2016, under `optimal`."""
    print(f"\nISCA 2016, figure 10, 16 images: ours, published, ratio; {', '.join(LEVELS)}")
    hardware = load_hardware("isca16")
    sums = [[0.0] * len(LEVELS), [0.0] * len(LEVELS)]
    for name, shape in published["shapes"].items():
        layer = square(name, **shape)
        found = estimate_layer(layer, hardware, Settings(batch=16))
        ours = [16 * found.of_level(level) for level in LEVELS]
        known = [published["energy"][name][level] for level in LEVELS]
        line(name, ours, known)
        for total, parts in zip(sums, (ours, known), strict=True):
            total[:] = [a + b for a, b in zip(total, parts, strict=True)]
    line("all", *sums)


def square(
    name: str, size: int, kernel: int, channels: int, filters: int, stride: int, out: int
) -> Layer:
    """A layer of the paper's table II."""
    sizes = (channels, filters, size, size, kernel, kernel, stride, stride, out, out)
    return Layer(name, *sizes)


def chip(published: Any) -> None:
    """The chip's own counters, under its published mappings."""
    print("\nchip, batch of 4: MB of DRAM ours and published, MB of buffer, elements, ms")
    names = [*published["layers"], "CONV3 as 4"]
    for name in names:
        layer_name, mapping_of = ("CONV3", "CONV4") if name == "CONV3 as 4" else (name, name)
        known = published["layers"][layer_name]
        layer = next(each for each in read_built_in("alexnet").layers if each.name == layer_name)
        mapping = Mapping(*published["mapping"][mapping_of])
        found = estimate_layer(layer, CHIP, Settings(batch=4), mapping)
        dram = 8e-6 * sum(found.words["dram", data] for data in DATA[:3]) / known["dram_saving"]
        words = found.words["buffer", "ifmap"] + found.words["buffer", "ofmap"]
        buffer = 8e-6 * (words + 2 * layer.outputs)
        print(
            f"{name:>12} {dram:6.2f} {known['dram_mb']:6.2f}"
            f"  {buffer:6.1f} {known['buffer_mb']:6.1f}"
            f"  {found.elements:4d} {known['elements']:4d}"
            f"  {4e-3 * found.latency_us:6.1f} {known['latency_ms']:6.1f}"
        )


def published_tool(published: Any) -> None:
    """AlexNet and its pruned versions of CVPR 2017, under `mit2017` and, for the gap, `optimal`."""
    figure = published["cvpr2017_alexnet"]["layers"]
    layers = alexnet(published, [0.0] * 8)
    print(f"\nCVPR 2017, AlexNet, batch of 44, mit2017: ours, published, ratio; {', '.join(DATA)}")
    network = estimate(layers, CHIP, Settings(batch=44, policy="mit2017"))
    for each in network.layers:
        known = [figure[each.layer.name][data] for data in DATA]
        line(each.layer.name, [each.of_data(data) for data in DATA], known)
    print("\nCVPR 2017, totals: ours under mit2017, published, ratio; then optimal")
    totals = published["cvpr2017_totals"]["networks"]
    subjects = {
        name: (alexnet(published, published["removed_weights"].get(name, [0.0] * 8)), 44)
        for name in ("AlexNet", "AlexNet_DC", "AlexNet_EAP")
    }
    subjects["GoogLeNet"] = (googlenet(totals["GoogLeNet"]["macs"]), 48)
    for name, (network_layers, batch) in subjects.items():
        ours = estimate(network_layers, CHIP, Settings(batch=batch, policy="mit2017")).total
        best = estimate(network_layers, CHIP, Settings(batch=batch)).total
        known = totals[name]["energy"]
        print(f"{name:>12} {ours:11.4g} {known:11.4g} {ours / known:6.3f}  {best / known:6.3f}")


def alexnet(published: Any, removed: Sequence[float]) -> list[Layer]:
    """AlexNet with the densities that the published MACs mean."""
    dense = read_built_in("alexnet").layers
    figure = published["cvpr2017_alexnet"]["layers"]
    pooled = published["pooled_ofmap_density"]
    inside = [figure[layer.name]["computation"] / layer.macs for layer in dense]
    outside = [
        pooled.get(layer.name, after)
        for layer, after in zip(dense, [*inside[1:], 1.0], strict=True)
    ]
    return [
        replace(layer, ifmap=Operand(16, a), ofmap=Operand(16, b), weight=Operand(16, 1 - gone))
        for layer, a, b, gone in zip(dense, inside, outside, removed, strict=True)
    ]


def googlenet(macs: float) -> list[Layer]:
    """GoogLeNet with one density after its first layer, that which the published MACs mean."""
    first, *rest = read_built_in("googlenet").layers
    active = Operand(16, (macs - first.macs) / sum(layer.macs for layer in rest))
    return [
        replace(first, ofmap=active),
        *(replace(layer, ifmap=active, ofmap=active) for layer in rest),
    ]


def seconds(action: Callable[[], object], prepare: Callable[[], object]) -> float:
    """Median time of `action`, each time after `prepare`."""
    times = []
    for _ in range(REPEATS):
        prepare()
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def speed() -> None:
    """Networks from nothing, and a proposal beside what is known."""
    forget = estimate_layer.cache_clear
    print(f"\nmilliseconds under optimal, nothing known, at batches of {BATCHES}")
    for name in built_in_lists():
        layers = read_built_in(name).layers
        times = [
            1e3 * seconds(lambda b=batch, n=layers: estimate(n, CHIP, Settings(batch=b)), forget)  # type: ignore[misc]
            for batch in BATCHES
        ]
        print(f"{name:>12} " + " ".join(f"{value:8.1f}" for value in times))
    layers = list(read_built_in("resnet50").layers)
    estimate(layers, CHIP, Settings())
    filters = iter(range(64, 2048))

    def narrower() -> None:
        layers[20] = replace(layers[20], filters=next(filters))

    changed = 1e3 * seconds(lambda: estimate(layers, CHIP, Settings()), narrower)
    print(f"ResNet-50 with one layer changed: {changed:.2f}")


def main() -> None:
    """Print everything."""
    with PUBLISHED.open() as file:
        published = json.load(file)
    analysis(published["isca2016"])
    chip(published["chip"])
    published_tool(published)
    speed()


if __name__ == "__main__":
    main()
