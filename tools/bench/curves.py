"""How well a table of few measurements prices networks that nobody measured.

    python tools/bench/curves.py [--models NAME ...] [--dtypes TYPE ...] [--asked N] [--tested N]
                                 [--max-error SHARE] [--time-limit SECONDS]

For each model and type, from an empty table, kernels are measured until N random versions of the
network are known within the error asked for. Then other random versions are priced and measured
whole, and so are all their kernels. Prints the seconds and the entries that it took, the errors of
whole networks, those of single kernels beside linear interpolation through the same entries, and
how often the truth was within the expected error, by operator: nine times in ten is what is
promised. At the end the errors of all networks together.
"""

from __future__ import annotations

import itertools
import math
import statistics
import tempfile
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import LinearNDInterpolator, NearestNDInterpolator
from support.networks import DTYPES, PRUNABLE, Case, prunable, samples, versions
from support.statistics import Error, summary

from adapt.cost.base import Missing, Origin
from adapt.cost.interpolation import Interpolation, Quantity
from adapt.cost.table import TableLatency, open_table
from adapt.fleet.local import LocalDevice
from adapt.network.export import to_tflite
from adapt.network.load import Network
from adapt.network.shrink import slice_weights
from adapt.refresh import fill, measure_missing, measure_networks
from lookup_tables import Entry, Kernel, Platform, Store
from lookup_tables.curves import Estimate
from lookup_tables.families import Family, member

MODELS = ("mobilenet_v2-224", "mobilenet_v1-0.5-128")

# Networks measured side by side: their ratio holds on a machine that drifts.
TOGETHER = 4

# Times that kernels are tried.
PATIENCE = 4

# Seeds of the random versions asked about and tested.
ASKED, TESTED = 1, 2


@dataclass(frozen=True)
class Priced:
    """A tested network with its interpolated price."""

    case: Case
    latency_us: float
    error_us: float
    interpolated: float


def cases(network: Network, dtype: str, count: int) -> list[Case]:
    """`count` random versions as files."""
    calibration = samples(network.model) if dtype == "int8" else None
    found = []
    for number, keep in enumerate(versions(network, count, TESTED)):
        weights = slice_weights(network.weights, network.groups, keep)
        content = to_tflite(network.shrunk(keep, weights), calibration)
        widths = {name: len(kept) for name, kept in keep.items()}
        found.append(Case(f"version {number}", content, network.kernels(widths)))
    return found


def asked(network: Network, count: int) -> list[list[Kernel]]:
    """The kernels of the whole network, of its narrowest version, and of `count` random ones."""
    narrowest = {name: max(1, width // 4) for name, width in network.widths.items()}
    random = [
        {name: len(kept) for name, kept in keep.items()} for keep in versions(network, count, ASKED)
    ]
    return [network.kernels(widths) for widths in ({}, narrowest, *random)]


def price(store: Store, platform: Platform, tested: Sequence[Case]) -> list[Priced]:
    """Prices of those of `tested` that have one."""
    table = TableLatency(store, platform, max_error=math.inf)
    priced = []
    for case in tested:
        try:
            amount = table.price(case.kernels)["latency"]
        except Missing as lack:
            print(f"{case.name}: no price, since {str(lack)[:100]} ...")
            continue
        parts = table.price_each(case.kernels)
        guessed = sum(Origin.INTERPOLATED in part["latency"].by_origin for part in parts)
        share = guessed / len(case.kernels)
        priced.append(Priced(case, amount.value, amount.error, share))
    return priced


def whole(
    store: Store, device: LocalDevice, priced: Sequence[Priced], unpruned: bytes
) -> tuple[list[float], list[float]]:
    """Microseconds of whole networks, measured, and of the unpruned one beside each of them."""
    found: list[float] = []
    beside: list[float] = []
    for first in range(0, len(priced), TOGETHER):
        contents = [each.case.content for each in priced[first : first + TOGETHER]]
        base, *rest = measure_networks(store, device, [unpruned, *contents])
        found += [each.latency_us for each in rest]
        beside += [base.latency_us] * len(rest)
    return found, beside


def measure_all(
    store: Store, device: LocalDevice, platform: Platform, tested: Sequence[Case]
) -> TableLatency:
    """Measure every kernel of `tested`, now; on a busy machine, what failed once more."""
    everything = [kernel for case in tested for kernel in case.kernels]
    lack = Missing.together(TableLatency(store, platform).answers(c.kernels)[1] for c in tested)
    lack = Missing.together([lack, Missing(everything)])
    for _ in range(PATIENCE):
        measure_missing(store, device, lack)
        table = TableLatency(store, platform)
        lack = Missing.together(table.answers(case.kernels)[1] for case in tested)
        if not lack:
            break
    return table


def linear(known: Mapping[Kernel, float], wanted: Sequence[Kernel]) -> dict[Kernel, float]:
    """Piecewise linear interpolation over channels, the nearest entry outside."""
    points: dict[Family, dict[tuple[int, ...], float]] = defaultdict(dict)
    for kernel, value in known.items():
        if (place := member(kernel)) is not None:
            points[place.family][place.channels] = value
    found = {}
    for kernel in wanted:
        place = member(kernel)
        if place is not None and len(points[place.family]) >= 4:
            found[kernel] = _linear(points[place.family], place.channels)
    return found


def _linear(points: Mapping[tuple[int, ...], float], at: tuple[int, ...]) -> float:
    places, values = np.array(list(points), float), np.array(list(points.values()))
    varying = [axis for axis in range(len(at)) if len(set(places[:, axis])) > 1]
    target = np.array(at, float)[varying]
    if len(varying) == 1:
        order = np.argsort(places[:, varying[0]])
        return float(np.interp(target[0], places[order, varying[0]], values[order]))
    inside = float(LinearNDInterpolator(places[:, varying], values)(target)[0])
    if math.isnan(inside):
        inside = float(NearestNDInterpolator(places[:, varying], values)(target)[0])
    return inside


def report_kernels(
    quantity: Quantity,
    guesses: Mapping[Kernel, Estimate],
    lines: Mapping[Kernel, float],
    truth: Mapping[Kernel, float],
) -> None:
    """Print errors and coverage by operator, then of all."""
    kinds: dict[str, list[Kernel]] = defaultdict(list)
    for kernel in guesses:
        if kernel in truth and not guesses[kernel].measured:
            kinds[kernel.op].append(kernel)
            kinds["all"].append(kernel)
    for kind in sorted(kinds, key=lambda kind: (kind == "all", kind)):
        kernels = kinds[kind]
        errors = sorted(abs(guesses[k].value / truth[k] - 1) for k in kernels)
        plain = sorted(abs(lines[k] / truth[k] - 1) for k in kernels if k in lines)
        within = statistics.fmean(
            abs(guesses[k].value / truth[k] - 1) <= guesses[k].relative_error for k in kernels
        )
        bias = statistics.fmean(guesses[k].value / truth[k] - 1 for k in kernels)
        stated = statistics.median(guesses[k].relative_error for k in kernels)
        print(
            f"{quantity:4} {kind:20} {len(kernels):5} kernels: median {_at(errors, 0.5):6.2%},"
            f" p95 {_at(errors, 0.95):6.2%} (linear {_at(plain, 0.5):6.2%},"
            f" {_at(plain, 0.95):6.2%}), mean {bias:+6.2%}; expected {stated:6.2%},"
            f" within it {within:6.1%}"
        )


def _at(ordered: Sequence[float], share: float) -> float:
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)] if ordered else math.nan


def report_networks(
    priced: Sequence[Priced], measured: Sequence[float], exact: Sequence[float]
) -> None:
    """Print each network and the errors of all; `exact` are prices with every kernel measured."""
    for each, us, sum_us in zip(priced, measured, exact, strict=True):
        print(
            f"{each.case.name:12} measured {us:9.1f} us, interpolated {each.latency_us:9.1f} us"
            f" +-{each.error_us / each.latency_us:5.1%}: {each.latency_us / us - 1:+6.1%},"
            f" {each.latency_us / sum_us - 1:+6.1%} from the sum of its kernels;"
            f" {each.interpolated:4.0%} of {len(each.case.kernels)} kernels not in the table"
        )
    names = [each.case.name for each in priced]
    prices = [each.latency_us for each in priced]
    for title, truth, guess in (
        ("interpolated against measured", measured, prices),
        ("every kernel measured against measured", measured, exact),
        ("interpolated against every kernel measured", exact, prices),
    ):
        errors = [Error(*each) for each in zip(names, truth, guess, strict=True)]
        bias = statistics.fmean(error.relative for error in errors)
        print(f"{title}, {summary(errors)}, mean {bias:+.2%}")
    within = [abs(e.latency_us - us) <= e.error_us for e, us in zip(priced, exact, strict=True)]
    print(f"within the expected error of the sum of their kernels: {statistics.fmean(within):.0%}")


def report_again(
    quantity: Quantity, guesses: Mapping[Kernel, Estimate], truth: Mapping[Kernel, float]
) -> None:
    """Print how far the entries themselves moved until all kernels were measured again."""
    moved = [truth[k] / guesses[k].value - 1 for k in guesses if k in truth and guesses[k].measured]
    if moved:
        sizes = sorted(map(abs, moved))
        print(
            f"{quantity:4} measured again {len(sizes):11} kernels: median {_at(sizes, 0.5):6.2%},"
            f" p90 {_at(sizes, 0.9):6.2%}, p95 {_at(sizes, 0.95):6.2%},"
            f" mean {statistics.fmean(moved):+6.2%}"
        )


@dataclass(frozen=True)
class Values:
    """What the entries said before the tested versions were measured.

    `guesses` and `lines` by quantity: of curves, and of linear interpolation.
    """

    guesses: Mapping[Quantity, Mapping[Kernel, Estimate]]
    lines: Mapping[Quantity, Mapping[Kernel, float]]

    @classmethod
    def read(cls, store: Store, platform: Platform, kernels: Sequence[Kernel]) -> Values:
        """Of `kernels`, from all entries of `platform`."""
        curves = Interpolation.read(store, platform).curves
        known = _times(store.entries(platform))
        return cls(
            {quantity: curves[quantity].estimates(kernels) for quantity in Quantity},
            {quantity: linear(known[quantity], kernels) for quantity in Quantity},
        )


def _times(entries: Mapping[Kernel, Entry]) -> dict[Quantity, dict[Kernel, float]]:
    """Microseconds by quantity and kernel."""
    return {
        Quantity.HOT: {kernel: entry.latency_us for kernel, entry in entries.items()},
        Quantity.COLD: {k: entry.cold_us for k, entry in entries.items() if entry.cold_us},
    }


def fill_table(
    store: Store, device: LocalDevice, wanted: Sequence[Sequence[Kernel]], options: Namespace
) -> None:
    """Measure until `wanted` is known, and print what it took."""
    filled = fill(
        store, device, wanted, max_error=options.max_error, time_limit_s=options.time_limit
    )
    platform = device.platform("xnnpack", 1, 0)
    counts, known = store.counts(platform), sorted(filled.errors)
    kernels = {kernel for each in wanted for kernel in each}
    print(
        f"{filled.seconds:.0f} s, {counts.entries} entries for {len(kernels)} kernels of"
        f" {len(wanted)} networks, known within {known[len(known) // 2]:.1%} (median) and"
        f" {known[-1]:.1%} (most)"
    )
    for name, fact in store.facts(platform).items():
        print(f"  {name}: {fact.value:g}")


def test(name: str, dtype: str, options: Namespace) -> tuple[list[Error], list[Error]]:
    """Fill a table for one network, price other versions of it, measure them and print.

    Returns the errors of prices, and those of linear interpolation.
    """
    print(f"== {name} {dtype}")
    model = prunable(name)
    calibration = samples(model) if dtype == "int8" else None
    network = Network(model, quantized_samples=calibration)
    wanted, tested = asked(network, options.asked), cases(network, dtype, options.tested)
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalDevice() as device,
        open_table(Path(folder) / "tables.db") as store,
    ):
        platform = device.platform("xnnpack", 1, 0)
        fill_table(store, device, wanted, options)
        priced = price(store, platform, tested)
        if len(priced) < 2:
            raise SystemExit("too few of the tested versions have a price; ask about more")
        everything = list(dict.fromkeys(k for each in priced for k in each.case.kernels))
        values = Values.read(store, platform, everything)
        base_us = TableLatency(store, platform, max_error=math.inf).price(network.kernels({}))
        base = to_tflite(network.shrunk({}, network.weights), calibration)
        measured, beside = whole(store, device, priced, base)
        table = measure_all(store, device, platform, [each.case for each in priced])
        known = [not table.answers(each.case.kernels)[1] for each in priced]
        measured, beside, priced = (
            list(itertools.compress(each, known)) for each in (measured, beside, priced)
        )
        exact = [table.price(each.case.kernels)["latency"].value for each in priced]
        truth = _times(store.entries(platform, everything))
        overhead = table.call.latency_us
    report_networks(priced, measured, exact)
    straight = [
        overhead
        + sum(values.lines[Quantity.HOT].get(k, truth[Quantity.HOT][k]) for k in each.case.kernels)
        for each in priced
    ]
    names = [f"{name} {dtype} {each.case.name}" for each in priced]
    lines = [Error(*each) for each in zip(names, measured, straight, strict=True)]
    print(f"linear interpolation of hot times against measured, {summary(lines)}")
    for quantity in Quantity:
        guesses = values.guesses[quantity]
        report_kernels(quantity, guesses, values.lines[quantity], truth[quantity])
        report_again(quantity, guesses, truth[quantity])
    prices = [each.latency_us for each in priced]
    shares = [price / base_us["latency"].value for price in prices]
    truths = [us / base for us, base in zip(measured, beside, strict=True)]
    relative = [Error(*each) for each in zip(names, truths, shares, strict=True)]
    print(f"share of the unpruned network's latency against measured, {summary(relative)}")
    return [Error(*each) for each in zip(names, measured, prices, strict=True)], lines


def main() -> None:
    """Measure and print."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=PRUNABLE, default=MODELS)
    parser.add_argument("--dtypes", nargs="+", choices=DTYPES, default=DTYPES)
    parser.add_argument("--asked", type=int, default=20, help="versions to be known")
    parser.add_argument("--tested", type=int, default=16, help="other versions to price")
    parser.add_argument("--max-error", type=float, default=0.03, help="share of the latency")
    parser.add_argument("--time-limit", type=float, default=180, help="seconds of measuring")
    options = parser.parse_args()
    runs = [test(name, dtype, options) for name in options.models for dtype in options.dtypes]
    print("== all")
    print(f"interpolated against measured, {summary([e for prices, _ in runs for e in prices])}")
    print(f"linear interpolation, {summary([error for _, lines in runs for error in lines])}")


if __name__ == "__main__":
    main()
