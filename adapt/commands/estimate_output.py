"""What `adapt estimate` prints: tables for people, JSON, CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from adapt.commands.terminal import columns, percent

if TYPE_CHECKING:
    from adapt.cost.eyeriss import Hardware, LayerEstimate, NetworkEstimate, Settings
    from adapt.estimation import Subject

__all__ = ["estimate_json", "estimate_text", "estimates_csv"]

_DATA = ("ifmap", "ofmap", "weight")
_KINDS = (*_DATA, "computation")
_LEVELS = ("dram", "buffer", "array", "scratchpad")


def estimate_json(
    hardware: Hardware,
    pj_per_mac: float | None,
    subject: Subject,
    settings: Settings,
    network: NetworkEstimate,
) -> dict[str, Any]:
    """One network of `--json`."""
    joules = None if pj_per_mac is None else network.total * pj_per_mac * 1e-12
    return {
        "network": subject.name,
        "origin": "analytic",
        "hardware": hardware.description,
        **asdict(settings),
        "unit": f"energy of one {hardware.word_bits}-bit MAC, for one image",
        "total": network.total,
        "joules": joules,
        "macs": network.macs,
        "latency_us": network.latency_us,
        "by_data": {kind: _sum(network, kind) for kind in _KINDS},
        "by_level": {level: _sum_level(network, level) for level in (*_LEVELS, "mac")},
        "uncounted": dict(subject.uncounted or {}),
        "layers": [_layer_json(each) for each in network.layers],
    }


def _layer_json(each: LayerEstimate) -> dict[str, Any]:
    return {
        "name": each.layer.name,
        "total": each.total,
        "macs": each.macs,
        "latency_us": each.latency_us,
        "elements": each.elements,
        "mapping": vars(each.mapping),
        "weights": each.layer.weights,
        "operands": {data: asdict(getattr(each.layer, data)) for data in _DATA},
        "energy": _nested(each.energy),
        "words": _nested(each.words),
    }


def _nested(table: Any) -> dict[str, dict[str, float]]:
    """By data type, then by level."""
    nested: dict[str, dict[str, float]] = {}
    for (level, data), value in table.items():
        nested.setdefault(data, {})[level] = value
    return nested


def estimates_csv(found: Sequence[tuple[Subject, Settings, NetworkEstimate]]) -> str:
    """All networks as rows: layer by data type by level."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("network", "layer", "data", "level", "words", "energy"))
    for subject, _, network in found:
        for each in network.layers:
            for (level, data), energy in each.energy.items():
                words = each.words.get((level, data), each.macs)
                writer.writerow(
                    (subject.name, each.layer.name, data, level, f"{words:.10g}", f"{energy:.10g}")
                )
    return text.getvalue()


def estimate_text(
    hardware: Hardware,
    pj_per_mac: float | None,
    subject: Subject,
    settings: Settings,
    network: NetworkEstimate,
) -> str:
    """One network as people read it."""
    head = ("layer", "MACs", *_KINDS, "total", "share", "us", "elements", "mapping")
    rows: list[tuple[str, ...]] = [head]
    rows += [
        (
            each.layer.name,
            _amount(each.macs),
            *(_amount(each.of_data(kind)) for kind in _KINDS),
            _amount(each.total),
            percent(each.total / network.total if network.total else None),
            f"{each.latency_us:.1f}",
            str(each.elements),
            str(each.mapping),
        )
        for each in network.layers
    ]
    images = "image" if settings.batch == 1 else f"image of {settings.batch} at a time"
    lines = [
        f"{subject.name} on {hardware.description}",
        f"analytic, mapped by {settings.policy}; energy of one {images}, in"
        f" {hardware.word_bits}-bit MACs",
        "",
        columns(rows, left=(0, 10)),
        "",
        _totals_text(network),
        "",
        _summary(hardware, pj_per_mac, network),
    ]
    if subject.uncounted:
        names = ", ".join(f"{count} {op}" for op, count in subject.uncounted.items())
        lines.append(f"not counted: {names}")
    return "\n".join(lines)


def _totals_text(network: NetworkEstimate) -> str:
    """Data types by levels."""
    head = ("", "DRAM", "buffer", "array", "scratchpad", "MACs", "total")
    rows: list[tuple[str, ...]] = [head]
    for kind in _KINDS:
        cells = [
            sum(each.energy.get((level, kind), 0.0) for each in network.layers)
            for level in (*_LEVELS, "mac")
        ]
        rows.append((kind, *map(_amount, cells), _amount(sum(cells))))
    levels = [_sum_level(network, level) for level in (*_LEVELS, "mac")]
    rows.append(("total", *map(_amount, levels), _amount(network.total)))
    return columns(rows, left=(0,))


def _summary(hardware: Hardware, pj_per_mac: float | None, network: NetworkEstimate) -> str:
    joules = "" if pj_per_mac is None else f" = {network.total * pj_per_mac * 1e-6:#.3g} uJ"
    return (
        f"total {_amount(network.total)} MACs of energy{joules}, {_amount(network.macs)} MACs done,"
        f" {network.latency_us / 1e3:#.3g} ms at {hardware.clock_mhz:g} MHz"
    )


def _sum(network: NetworkEstimate, kind: str) -> float:
    return sum(each.of_data(kind) for each in network.layers)


def _sum_level(network: NetworkEstimate, level: str) -> float:
    return sum(each.of_level(level) for each in network.layers)


def _amount(value: float) -> str:
    """A count with a unit of thousands, to three digits or more."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor:
            return f"{value / factor:.2f} {unit}"
    return f"{value:.0f}"
