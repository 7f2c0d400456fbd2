"""Other estimators as processes: layers in on stdin, one JSON line a layer out."""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from adapt.cost.eyeriss import Hardware, Layer

__all__ = ["Answer", "ask", "parse_answer", "question"]

# Of what a tool says on stderr, its last lines tell what went wrong.
_LAST_LINES = 5


@dataclass(frozen=True)
class Answer:
    """What a tool says of a layer for its whole batch; `energy` in MACs."""

    name: str
    seconds: float
    energy: float
    cycles: float
    macs: float


def question(layers: Sequence[Layer], hardware: Hardware, batch: int) -> dict[str, Any]:
    """What a driver reads: one group of each layer, and the accelerator."""
    separate = hardware.ifmap_words + hardware.weight_words + hardware.psum_words
    bytes_per_cycle = hardware.dram_mb_per_s / hardware.clock_mhz
    return {
        "batch": batch,
        "hardware": {
            "rows": hardware.rows,
            "columns": hardware.columns,
            "buffer_words": hardware.buffer_words,
            "scratchpad_words": hardware.shared_words or separate,
            "ifmap_words": hardware.ifmap_words,
            "weight_words": hardware.weight_words,
            "psum_words": hardware.psum_words,
            "costs": [hardware.dram, hardware.buffer, hardware.array, hardware.scratchpad],
            "dram_words_per_cycle": bytes_per_cycle * 8 / hardware.word_bits,
        },
        "layers": [_entry(layer.one_group()) for layer in layers],
    }


def _entry(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "channels": layer.channels,
        "filters": layer.filters,
        "out": [layer.out_height, layer.out_width],
        "kernel": [layer.kernel_height, layer.kernel_width],
        "stride": [layer.stride_y, layer.stride_x],
    }


def parse_answer(line: str) -> Answer:
    """The answer in one line of a driver. ValueError where it is none."""
    wrong = ValueError(f"not an answer: {line.strip()}")
    try:
        read = json.loads(line)
        name = read.pop("name")
        numbers = {key: float(value) for key, value in read.items()}
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise wrong from error
    keys = {each.name for each in fields(Answer)} - {"name"}
    if set(numbers) != keys or not isinstance(name, str):
        raise wrong
    if not all(math.isfinite(each) for each in numbers.values()):
        raise wrong
    return Answer(name, **numbers)


def ask(python: str, driver: Path, asked: dict[str, Any], limit_s: float) -> list[Answer]:
    """What `driver` answers within `limit_s`, which may be fewer layers than were asked about.

    SystemExit, with the last lines of its stderr, where it fails.
    """
    # -I: the folder of the driver is not where the tool looks for its modules.
    command = [python, "-I", str(driver)]
    try:
        done = subprocess.run(
            command, input=json.dumps(asked).encode(), capture_output=True, timeout=limit_s
        )
        code, output, said = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        code, output, said = 0, late.stdout or b"", b""
    if code:
        last = "\n".join(said.decode(errors="replace").splitlines()[-_LAST_LINES:])
        raise SystemExit(f"{driver.name} under {python} failed:\n{last}")
    # A line without an end was cut off by the limit.
    lines = output.decode().splitlines(keepends=True)
    return [parse_answer(line) for line in lines if line.endswith("\n") and line.startswith("{")]
