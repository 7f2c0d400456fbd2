"""What the program says while it works: logs on stderr, and silence for native libraries."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

import structlog

__all__ = ["configure_logging", "import_tensorflow", "muted", "stdout_on_stderr"]


def configure_logging(*, verbose: bool) -> None:
    """Send structured logs to stderr: warnings and worse, or everything with `verbose`."""
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if verbose else logging.WARNING
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


@contextmanager
def muted(*streams: IO[str]) -> Iterator[IO[bytes]]:
    """Swallow what is written to the file descriptors of `streams`, native code included.

    TensorFlow's converter prints to stdout from C++, where results belong. Yields the file that
    the output goes to, so that a caller can look at it when something failed.
    """
    saved: list[tuple[int, int]] = []
    with tempfile.TemporaryFile() as sink:
        try:
            for stream in streams:
                stream.flush()
                descriptor = stream.fileno()
                saved.append((descriptor, os.dup(descriptor)))
                os.dup2(sink.fileno(), descriptor)
            yield sink
        finally:
            try:
                for stream in streams:
                    stream.flush()
            finally:  # Backwards, in case two streams share a descriptor.
                for descriptor, copy in reversed(saved):
                    os.dup2(copy, descriptor)
                    os.close(copy)


@contextmanager
def stdout_on_stderr() -> Iterator[None]:
    """Send what anything inside prints on stdout, native code included, to stderr."""
    stdout, stderr = sys.__stdout__ or sys.stdout, sys.__stderr__ or sys.stderr
    stdout.flush()
    saved = os.dup(stdout.fileno())
    try:
        os.dup2(stderr.fileno(), stdout.fileno())
        yield
    finally:
        try:
            stdout.flush()
        finally:
            os.dup2(saved, stdout.fileno())
            os.close(saved)


def import_tensorflow() -> None:
    """Import TensorFlow without its greetings; takes 2-10 s the first time."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with muted(sys.__stderr__ or sys.stderr):
        importlib.import_module("tensorflow")
    absl_logging = importlib.import_module("absl.logging")
    absl_logging.set_verbosity(absl_logging.ERROR)
