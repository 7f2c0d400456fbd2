"""Writes docs/architectures.md from what the checks of tests/network find; takes minutes.

    python -m tools.document_architectures

The long tests compare the whole page with what they find, the usual ones some columns of it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from adapt.telemetry import import_tensorflow

import_tensorflow()

from tests.network.architectures import ARCHITECTURES  # noqa: E402
from tests.network.checks import examine  # noqa: E402

if TYPE_CHECKING:
    from tests.network.checks import Finding

PAGE = Path(__file__).parents[1] / "docs" / "architectures.md"

# Random width vectors for each architecture.
TRIED = 5

_INTRODUCTION = f"""\
# Architectures

This page is written by `tools/document_architectures.py` from what the tests find; the long tests
compare it.

Each network, with random weights, is shrunk to {TRIED} random vectors of widths, between one filter
and all of a group's. *Exact* counts those at which the shrunk network computes what the original
does when nothing listens to the removed filters (within 1e-5 of the output's scale). *Kernels*
counts those at which the kernels that are priced are, operator by operator, what the converter
emits. *At half* is the share of the original's multiplications at which the network was then
converted to .tflite and run, with the outputs that Keras gives.

A layer normalisation sees all channels; it is shrunk to the statistics of those that stay, which
is what it is compared with.
"""

_HEAD = (
    "architecture", "parameters", "groups", "filters", "kept whole", "exact", "kernels", "at half",
)  # fmt: skip


def page(findings: Mapping[str, Finding]) -> str:
    """The whole page."""
    rows = [_line(_HEAD), _line(["---"] * len(_HEAD))]
    rows += [row(name, finding) for name, finding in findings.items()]
    return "\n".join([_INTRODUCTION, *rows, ""])


def row(name: str, finding: Finding) -> str:
    """The line of the table for one architecture."""
    half = "no" if finding.half is None else f"{finding.half:.0%}"
    tried = f" of {finding.tried}"
    return _line(
        (
            name, f"{finding.parameters:,}", str(finding.groups), f"{finding.filters:,}",
            "; ".join(finding.kept_whole) or "nothing",
            f"{finding.exact}{tried}", f"{finding.kernels}{tried}", half,
        )
    )  # fmt: skip


def cells(name: str) -> list[str]:
    """What the page says of an architecture, by column."""
    (line,) = (line for line in PAGE.read_text().splitlines() if line.startswith(f"| {name} |"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def _line(texts: tuple[str, ...] | list[str]) -> str:
    return f"| {' | '.join(texts)} |"


if __name__ == "__main__":
    found = {}
    for name, architecture in ARCHITECTURES.items():
        found[name] = examine(architecture, TRIED)
        print(row(name, found[name]), file=sys.stderr, flush=True)
    PAGE.write_text(page(found))
