"""The agent's bundle for phones: made, taken from elsewhere, or copied out."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import click

from adapt.commands.terminal import json_text
from adapt.errors import UsageError

__all__ = ["bundle"]

_RUNTIMES = ("ai-edge-litert", "tflite-runtime")


@click.command()
@click.option(
    "--runtime",
    type=click.Choice(_RUNTIMES),
    default=None,
    help=f"The TFLite that it brings.  [default: {_RUNTIMES[0]}]",
)
@click.option(
    "--from",
    "source",
    type=click.Path(path_type=Path),
    default=None,
    help="Take this file, made elsewhere, instead of making one.",
)
@click.option("--output", type=click.Path(path_type=Path), default=None, help="Copy it there, too.")
@click.option("--lock", type=click.Path(path_type=Path), help="Lock file, instead of the bundled.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def bundle(
    runtime: str | None, source: Path | None, output: Path | None, lock: Path | None, as_json: bool
) -> None:
    """Make the agent's bundle for phones.

    It holds everything that the agent needs on an aarch64 device. Its parts, locked by version and
    SHA-256, come from the package sources of this machine, which must be a Debian for x86-64; for
    any other, make it on one and use --from.
    """
    from adapt.config import load_config
    from adapt.fleet.bundle import DEFAULT_LOCK, RUNTIMES, adopted, bundled

    home = load_config().home
    if source is None:
        made = bundled(home, runtime or RUNTIMES[0], lock or DEFAULT_LOCK, _say)
    elif runtime is not None:
        raise UsageError("--runtime says nothing with --from", "the file has a runtime of its own")
    else:
        made = adopted(home, source, lock or DEFAULT_LOCK)
    if output is not None:
        shutil.copyfile(made.path, output)
    if as_json:
        facts = {"path": str(made.path), "sha256": made.sha256, "bytes": made.size}
        click.echo(json_text({**facts, **asdict(made.manifest)}))
        return
    manifest = made.manifest
    click.echo(f"{output or made.path}")
    click.echo(
        f"{manifest.runtime} {manifest.runtime_version}, build {manifest.build}, for"
        f" {manifest.architecture}: {made.size / 1e6:.1f} MB, unpacked"
        f" {made.content_bytes / 1e6:.0f} MB, SHA-256 {made.sha256}"
    )


def _say(words: str) -> None:
    if sys.stderr.isatty():
        click.echo(f"{words} ...", err=True)
