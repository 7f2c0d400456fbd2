"""Writes docs/cli.md from the commands, the error tree and the configuration themselves.

A test compares the file with what this gives, so it cannot go stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import click

from adapt import errors
from adapt.cli import main
from adapt.config import Config

PAGE = Path(__file__).parents[1] / "docs" / "cli.md"

_INTRODUCTION = """\
# The command line

This page is written by `tools/document_cli.py` from the program itself.

Progress and messages go to stderr, results to stdout. A message says what was wrong, where, and
what to do next. Every command takes `--help`.
"""

_RESUMING = """\
## Stopping and going on

Ctrl-C, SIGTERM, a kill or a power cut lose one step at most. `adapt resume` takes the job's folder,
or its name inside the folder for jobs, and ends with the same files, bit for bit, as a run without
interruption on the same table. It refuses to go on where the model file, the data or the device
has changed since the job began. A job that could not begin, because of bad data for example, leaves
no folder behind; one that failed later says so and how to go on. Resuming a job that is done prints
its result again.

Two jobs cannot use one device, nor one job folder, at the same time: the second ends with exit
code 75 and names the process that is in its way.
"""

_JSON = """\
## The result as JSON

With `--json`, stdout is one JSON document, the `result` of `job.json`: `platforms` by device,
`limits` (in microseconds, operations, parameters or bytes), `networks` (the original, the adapted
and each baseline, with `widths`, predicted `cost` by name and origin, `measured` latencies of the
whole network by name, and accuracies), `history` (one point for each iteration, with the limit that
was `binding`), `curves` (with --compare: the baseline's hold-out accuracy at the costs of up to
four iterations, after as many steps), `target` (with --target-accuracy: how the network was
chosen), `kept_whole`, `kernels_measured`, `examples` and `seconds` by phase. A loss that is not a
number is null.

A name is that of a resource, `latency`; of several devices, what each has of its own is
`latency@LABEL`. See `devices.md`.
"""

_CONFIGURATION = """\
## Configuration

Settings come from the environment or else from `config.toml` in `$XDG_CONFIG_HOME/adapt` (by
default `~/.config/adapt`). A leading `~` is the home folder.
"""

_SETTINGS = {
    "home": ("`$XDG_DATA_HOME/adapt`, or `~/.local/share/adapt`", "Tables and locks."),
    "tables": ("`tables.db` in `home`", "The file with the lookup tables; `--tables` overrides."),
    "jobs": ("`adapt-jobs` in the working folder", "Where new job folders go."),
}


def page() -> str:
    """The whole page."""
    above = click.Context(main, info_name="adapt", **main.context_settings)
    sections = [_INTRODUCTION, *_sections(main, above)]
    sections += [_RESUMING, _JSON, _exit_codes(), _configuration()]
    return "\n".join(sections)


def _sections(group: click.Group, above: click.Context) -> Iterator[str]:
    """A section for each command of `group`, and after it for those below it."""
    for name, command in sorted(group.commands.items()):
        with click.Context(command, info_name=name, parent=above) as context:
            yield _section(command, context)
            if isinstance(command, click.Group):
                yield from _sections(command, context)


def _section(command: click.Command, context: click.Context) -> str:
    usage = " ".join(command.collect_usage_pieces(context))
    records = [
        record
        for parameter in command.get_params(context)
        if isinstance(parameter, click.Option)
        and (record := parameter.get_help_record(context)) is not None
    ]
    lines = [f"## `{context.command_path} {usage}`", "", command.help or "", ""]
    return "\n".join([*lines, *_table(("option", "meaning"), records), ""])


def _exit_codes() -> str:
    kinds = {getattr(errors, name) for name in errors.__all__} - {errors.AdaptError}
    rows = [("0", "Done.")]
    for kind in sorted(kinds, key=lambda kind: int(kind.exit_code)):
        rows.append((str(kind.exit_code), (kind.__doc__ or "").splitlines()[0]))
    return "\n".join(["## Exit codes", "", *_table(("code", "meaning"), rows), ""])


def _configuration() -> str:
    rows = [(name, f"ADAPT_{name.upper()}", *_SETTINGS[name]) for name in Config.model_fields]
    head = ("setting", "variable", "default", "meaning")
    return "\n".join([_CONFIGURATION, *_table(head, rows), ""])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table; the first column as code."""
    body = [(f"`{first}`", *rest) for first, *rest in rows]
    return [_row(head), _row(["---"] * len(head)), *map(_row, body)]


def _row(cells: Sequence[str]) -> str:
    texts = [" ".join(cell.split()).replace("|", r"\|") for cell in cells]
    return f"| {' | '.join(texts)} |"


if __name__ == "__main__":
    PAGE.write_text(page())
