"""How well the sum of a table's kernels predicts whole networks that nobody measured before.

    python tools/bench/predict.py [--pruned N] [--only PART] [--folder DIR]

Whole networks of Keras and of others, float32 and int8, and versions of some with random widths are
measured whole and priced from their kernels, on this machine, in one run: some networks, their
kernels, the same networks again. Prints one line a network, then the errors of each way to price:

    table         hot and cold times, less the call of the runtime: what this program predicts
    hot only      without the cold times
    single ops    the plain sum of what one-operator models take, as nn-Meter adds them up
    MACs          proportional to multiply-accumulates, the best factor for each data type

Files, table and figures stay in the folder if one is given; another run reads the files again.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from support.networks import Case, pruned, whole
from support.statistics import Error, ranks_agree, summary

from adapt.cost.base import Missing
from adapt.cost.cold import CACHE_FACT
from adapt.cost.interval import half_interval_us
from adapt.cost.table import TableLatency, open_table
from adapt.errors import DeviceError
from adapt.fleet.local import LocalDevice
from adapt.refresh import NetworkLatency, measure_missing, measure_networks
from adapt.tflite.quantities import macs, weight_bytes
from lookup_tables import Platform, Store

# Networks measured side by side: their ratio holds on a machine that drifts.
TOGETHER = 8
TOGETHER_BYTES = 120 << 20

# Tries before a busy machine is given up, and seconds between them.
PATIENCE = 6
PAUSE_S = 10

# Below this, errors are read in microseconds: a timer's grain is a percent of it.
SHORT_US = 20.0


@dataclass(frozen=True)
class Whole:
    """A network as measured: microseconds, and how far its runs before and after lie apart."""

    case: Case
    latency_us: float
    spread: float


def batches(cases: Sequence[Case]) -> Iterator[list[Case]]:
    """Cases that are measured together."""
    some: list[Case] = []
    for case in cases:
        if some and (
            len(some) == TOGETHER or sum(len(c.content) for c in [*some, case]) > TOGETHER_BYTES
        ):
            yield some
            some = []
        some.append(case)
    if some:
        yield some


def measure(
    store: Store, device: LocalDevice, contents: Sequence[bytes], repeats: int
) -> list[NetworkLatency]:
    """Measure networks; on a machine that is busy, again in a while."""
    for _ in range(PATIENCE):
        try:
            return measure_networks(store, device, contents, repeats=repeats)
        except DeviceError as error:
            print(error, flush=True)
            time.sleep(PAUSE_S)
    return measure_networks(store, device, contents, repeats=repeats)


def fill(store: Store, device: LocalDevice, platform: Platform, cases: Sequence[Case]) -> None:
    """Measure all that pricing the cases needs."""
    while True:
        table = TableLatency(store, platform)
        lack = Missing.together(table.answers(case.kernels)[1] for case in cases)
        if not lack:
            return
        start = time.monotonic()
        done = measure_missing(store, device, lack)
        seconds = time.monotonic() - start
        print(
            f"measured {len(lack.kernels)} hot, {len(lack.cold)} cold, {len(lack.facts)} facts"
            f" in {seconds:.0f} s ({(len(lack.kernels) + len(lack.cold)) / seconds:.1f}/s)",
            flush=True,
        )
        for kernel, verdict in done.failed.items():
            print(f"  failed: {kernel}: {verdict.reason} {verdict.detail}")
        if set(done.failed) - set(lack.cold):
            raise SystemExit("not every kernel could be measured")


def single_ops(store: Store, platform: Platform) -> Callable[[Case], float]:
    """The sum of what models of one operator take, calls of the runtime included."""
    entries = store.entries(platform)
    return lambda case: sum(entries[k].latency_us + entries[k].null_us for k in case.kernels)


def mac_proportional(measured: Sequence[Whole]) -> Callable[[Case], float]:
    """MACs times the factor that suits the networks of a data type best, in the median."""
    factors = {
        dtype: statistics.median(
            each.latency_us / sum(map(macs, each.case.kernels))
            for each in measured
            if each.case.dtype == dtype
        )
        for dtype in {each.case.dtype for each in measured}
    }
    return lambda case: factors[case.dtype] * sum(map(macs, case.kernels))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pruned", type=int, default=5, help="versions of each network and type")
    parser.add_argument("--only", choices=["whole", "pruned"], help="one part of the networks")
    parser.add_argument("--folder", type=Path, help="where to keep networks and table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        cases = [] if arguments.only == "pruned" else list(whole(folder))
        if arguments.only != "whole":
            cases += pruned(folder, arguments.pruned)
        path = folder / "tables.db"
        path.unlink(missing_ok=True)
        with LocalDevice() as device, open_table(path) as store:
            compare(store, device, cases, folder / "predict.json")


def compare(store: Store, device: LocalDevice, cases: Sequence[Case], out: Path) -> None:
    """Measure networks and kernels, and print how they agree."""
    platform = device.platform("xnnpack", 1, 0)
    measured: list[Whole] = []
    for some in batches(cases):
        # Before and after their kernels, since the machine drifts.
        contents = [case.content for case in some]
        first = measure(store, device, contents, 1)
        fill(store, device, platform, some)
        second = measure(store, device, contents, 2)
        for case, a, b in zip(some, first, second, strict=True):
            mean = (a.latency_us + b.latency_us) / 2
            measured.append(Whole(case, mean, abs(a.latency_us - b.latency_us) / mean))
    table, hot = TableLatency(store, platform), TableLatency(store, platform, cold=False)
    prices: dict[str, Callable[[Case], float]] = {
        "table": lambda case: table.price(case.kernels)["latency"].value,
        "hot only": lambda case: hot.price(case.kernels)["latency"].value,
        "single ops": single_ops(store, platform),
        "MACs": mac_proportional(measured),
    }
    cache = store.facts(platform)[CACHE_FACT].value
    print(f"cache {cache / 1024:.0f} KiB; the networks' own runs differ by {_spread(measured)}")
    errors: dict[str, list[Error]] = {name: [] for name in prices}
    for each in measured:
        line = f"{each.case.name:36} {len(each.case.kernels):3} kernels"
        weights = sum(map(weight_bytes, each.case.kernels)) / cache
        line += f" {weights:6.2f} caches {each.latency_us:9.1f} us +-{each.spread:5.1%}"
        for name, price in prices.items():
            error = Error(each.case.name, each.latency_us, price(each.case))
            errors[name].append(error)
            line += f"  {name} {error.relative:+6.1%}"
        print(line, flush=True)
    for name, values in errors.items():
        longer = [value for value in values if value.measured >= SHORT_US]
        print(f"{name:12} {summary(longer)}, rank correlation {ranks_agree(longer):.4f}")
        short = [abs(v.predicted - v.measured) for v in values if v.measured < SHORT_US]
        if short:
            print(f"{'':12} {len(short)} below {SHORT_US} us: off by at most {max(short):.2f} us")
    print(
        f"90 % interval of the table: {_coverage(table, errors['table'], measured):.1%} within it"
    )
    out.write_text(json.dumps({n: [vars(e) for e in v] for n, v in errors.items()}, indent=1))


def _coverage(table: TableLatency, errors: Sequence[Error], measured: Sequence[Whole]) -> float:
    """Share of the networks, of which `errors` are, whose time lies in the stated interval."""
    call_error = table.call.latency_us * table.call.relative_error
    halves = []
    for error, each in zip(errors, measured, strict=True):
        answers = table.answers(each.case.kernels)[0]
        parts = [(k, a) for k, a in zip(each.case.kernels, answers, strict=True) if a is not None]
        halves.append(half_interval_us(error.predicted, call_error, parts))
    pairs = zip(errors, halves, strict=True)
    return statistics.fmean(abs(e.predicted - e.measured) <= half for e, half in pairs)


def _spread(measured: Sequence[Whole]) -> str:
    spreads = sorted(each.spread for each in measured)
    return f"{statistics.median(spreads):.1%} in the median, at most {max(spreads):.1%}"


if __name__ == "__main__":
    main()
