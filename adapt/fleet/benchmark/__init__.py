"""Google's benchmark_model as a backend: a program of the user's, pushed and driven over a link.

It runs what no wheel brings, GPU and NNAPI and Hexagon delegates, and it is a second opinion on
what the agent measures. Nothing of it is known beforehand: its platform is that of this very file
with these very flags.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adapt.errors import InputError, UsageError

__all__ = ["BACKEND", "Benchmark"]

BACKEND = "benchmark-model"
MAX_BINARY_BYTES = 500 << 20
MAX_FLAGS = 16
BUILD_DIGITS = 16
_FLAG = re.compile(r"[a-z][a-z0-9_]{0,60}=[A-Za-z0-9_./:,+-]{0,200}")
# What is set for each run is no choice of the user's here.
_OWN_FLAGS = ("graph", "num_threads", "num_runs", "min_secs", "max_secs", "warmup")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """A benchmark_model for the device, and flags of the user's such as "use_gpu=true"."""

    binary: Path
    flags: tuple[str, ...]
    build: str

    @classmethod
    def open(cls, binary: Path | None, flags: Sequence[str] = ()) -> Benchmark:
        """Look at the program. InputError where it is not there, UsageError for bad flags."""
        if binary is None:
            raise UsageError(f"--backend {BACKEND} needs --binary FILE", _WHERE_FROM)
        for flag in flags:
            if not _FLAG.fullmatch(flag) or flag.startswith(_OWN_FLAGS):
                raise UsageError(
                    f"--binary-flag {flag!r} cannot be given", "Give NAME=VALUE, as use_gpu=true."
                )
        if len(flags) > MAX_FLAGS:
            raise UsageError(f"{len(flags)} flags", f"Give at most {MAX_FLAGS}.")
        try:
            size = binary.stat().st_size
            if not 0 < size <= MAX_BINARY_BYTES:
                raise InputError(f"{binary} has {size} bytes: no benchmark_model", _WHERE_FROM)
            with binary.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise InputError(f"{binary}: {error.strerror}", _WHERE_FROM) from error
        return cls(binary, tuple(sorted(flags)), digest[:BUILD_DIGITS])

    @property
    def backend(self) -> str:
        """The backend of its platform: its flags decide what runs a model."""
        return " ".join((BACKEND, *self.flags))


_WHERE_FROM = (
    "Google links nightly builds of benchmark_model for Android and Linux in LiteRT's"
    " documentation, on the page about benchmarks; or build tensorflow/lite/tools/benchmark:"
    "benchmark_model with Bazel, with --config=android_arm64 for a phone."
)
