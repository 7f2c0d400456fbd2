"""The command line. No logic here: parse, call, print. TensorFlow is imported by `run` alone."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from adapt.errors import AdaptError, Interrupted, UsageError

if TYPE_CHECKING:
    from adapt.job import JobFolder

__all__ = ["main"]

_EPILOG = """Exit codes: 0 done; 2 usage; 3 the budget cannot be met; 4 device; 5 bad model, data
or job; 6 lookup table; 75 busy; 130 interrupted (resume with `adapt resume`)."""


class _Group(click.Group):
    """A group that turns AdaptError into its message and exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AdaptError as error:
            click.echo(f"adapt: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=_Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="adaptd", prog_name="adapt")
def main() -> None:
    """Adapt a trained Keras network to a budget, as measured on the device it ships to."""


def _training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that few users turn; their defaults stand in adapt.methods.base.Settings."""
    options = [
        ("--batch", int, "Examples of one training step.  [default: 128]"),
        ("--short-steps", int, "Training steps of each proposal.  [default: 40]"),
        ("--short-rate", float, "Learning rate of these.  [default: 0.0005]"),
        ("--long-steps", int, "Training steps of the result.  [default: 600]"),
        ("--long-rate", float, "Highest learning rate of these.  [default: 0.003]"),
        ("--first-step", float, "First tightening, share of the original cost.  [default: 0.05]"),
        ("--decay", float, "Factor on the tightening, each iteration.  [default: 0.96]"),
    ]
    for name, kind, text in reversed(options):
        command = click.option(name, type=kind, default=None, help=text)(command)
    return command


@main.command()
@click.option("--model", type=click.Path(path_type=Path), required=True, help=".keras or .h5 file.")
@click.option(
    "--data",
    required=True,
    help="Image folder with a sub-folder per class, .npz file, or module:function.",
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    required=True,
    help="latency=50%, latency=1.2ms, macs=6M, params=40k, ... Repeatable; all must hold.",
)
@click.option("--device", default="local", show_default=True, help="The device to measure on.")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder for the results.  [default: adapt-jobs/<model>-<number>]",
)
@click.option(
    "--method",
    type=click.Choice(["netadapt", "uniform"]),
    default="netadapt",
    show_default=True,
    help="How the budget is met.",
)
@click.option(
    "--compare",
    multiple=True,
    type=click.Choice(["uniform"]),
    help="Also make this baseline, trained for as many steps.",
)
@click.option(
    "--quantize",
    type=click.Choice(["float32", "int8"]),
    default="float32",
    show_default=True,
    help="Precision of the .tflite; int8 is calibrated on --data.",
)
@click.option(
    "--pixel-range",
    type=(float, float),
    default=(0.0, 255.0),
    show_default=True,
    help="What pixel values 0 and 255 of images become.",
)
@click.option("--resize", is_flag=True, help="Scale images to the network's input size.")
@click.option("--holdout", type=float, default=0.1, show_default=True, help="Share held out.")
@click.option(
    "--backend",
    type=click.Choice(["xnnpack", "builtin"]),
    default="xnnpack",
    show_default=True,
    help="Kernels of the measured runtime.",
)
@click.option("--device-threads", type=int, default=1, show_default=True, help="Its threads.")
@click.option("--core-mask", default="0", show_default=True, help="Its cores, bit i for CPU i.")
@click.option(
    "--agent-python",
    type=click.Path(path_type=Path),
    default=None,
    help="Python that runs the agent, for another runtime.",
)
@click.option("--threads", type=int, default=None, help="Threads of training.  [default: all]")
@click.option("--seed", type=int, default=0, show_default=True, help="Of every random choice.")
@click.option("--tables", type=click.Path(path_type=Path), default=None, help="Table file.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
@_training_options
def run(**options: Any) -> None:
    """Adapt a network to a budget."""
    from adapt.budget import Budget

    Budget.parse(options["budgets"])  # Before seconds of imports: a slip in the syntax is quick.
    _refuse_unknown_device(options["device"])
    folder = _new_job(options)
    _carry_out(folder, options["tables"], as_json=options["as_json"])


@main.command()
@click.argument("job", type=click.Path(path_type=Path))
@click.option("--tables", type=click.Path(path_type=Path), default=None, help="Table file.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def resume(job: Path, tables: Path | None, as_json: bool) -> None:
    """Go on with an interrupted JOB: its folder, or its name among the jobs."""
    from adapt.config import load_config

    inside = load_config().jobs / job
    _import_tensorflow()
    from adapt.job import JobFolder

    path = inside if not job.exists() and inside.exists() else job
    _carry_out(JobFolder.open(path), tables, as_json=as_json)


def _refuse_unknown_device(name: str) -> None:
    if name != "local":
        raise UsageError(
            f"no device {name!r}", "The devices of this version: local (this machine)."
        )


def _import_tensorflow() -> None:
    from adapt.telemetry import import_tensorflow

    import_tensorflow()


def _new_job(options: dict[str, Any]) -> JobFolder:
    """A job folder for what the options of `run` ask for."""
    _import_tensorflow()
    from pydantic import ValidationError

    from adapt.config import load_config
    from adapt.job import JobFolder, JobRequest
    from adapt.methods.base import Settings
    from adapt.network.load import file_digest, load_model
    from adapt.training.finetune import pin_threads

    threads = options["threads"] or len(os.sched_getaffinity(0))
    pin_threads(threads)  # Before TensorFlow starts its threads to load the model.
    load_model(options["model"])  # A bad file should not leave a job folder behind.
    turned = {name: options[name] for name in Settings.model_fields if options[name] is not None}
    try:
        request = JobRequest(
            model=options["model"].resolve(),
            model_sha256=file_digest(options["model"]),
            data=_absolute(options["data"]),
            holdout=options["holdout"],
            pixel_range=options["pixel_range"],
            resize=options["resize"],
            budget=list(options["budgets"]),
            method=options["method"],
            compare=list(options["compare"]),
            quantize=options["quantize"],
            device=options["device"],
            agent_python=options["agent_python"],
            backend=options["backend"],
            device_threads=options["device_threads"],
            core_mask=_core_mask(options["core_mask"]),
            threads=threads,
            seed=options["seed"],
            settings=Settings(**turned),
        )
    except ValidationError as error:
        _refuse_value(error)
    path = options["output"] or _free_folder(load_config().jobs, options["model"].stem)
    return JobFolder.create(path, request)


def _refuse_value(error: Any) -> NoReturn:
    first = error.errors()[0]
    flag = "--" + str(first["loc"][-1]).replace("_", "-")
    raise UsageError(f"{flag} {first['input']}: {first['msg']}", "See adapt run --help.") from error


def _absolute(data: str) -> str:
    """Paths as absolute ones, so that a job can be resumed from elsewhere."""
    return str(Path(data).resolve()) if Path(data).exists() else data


def _core_mask(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError as error:
        raise UsageError(f"not a core mask: {text!r}", "Give a number such as 0xf0.") from error


def _free_folder(jobs: Path, stem: str) -> Path:
    """The first <stem>-<number> that does not exist yet."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", stem)
    number = 1
    while (jobs / f"{name}-{number}").exists():
        number += 1
    return jobs / f"{name}-{number}"


def _carry_out(folder: JobFolder, tables: Path | None, *, as_json: bool) -> None:
    """Run the job, show how it gets on, write the report and print the result."""
    from adapt.config import load_config
    from adapt.job import execute
    from adapt.progress import listener
    from adapt.report import summary, write_report

    def interrupted(signal_number: int, frame: object) -> NoReturn:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupted)
    config = load_config()
    click.echo(f"job {folder.path}", err=True)
    try:
        with listener() as watcher:
            result = execute(
                folder, home=config.home, tables=tables or config.table_file, listener=watcher
            )
    except KeyboardInterrupt as error:
        raise Interrupted("stopped", f"Go on with: adapt resume {folder.path}") from error
    write_report(folder.path / "report.html", folder.request, result)
    if as_json:
        click.echo(result.model_dump_json(indent=1))
    else:
        click.echo(summary(folder.request, result, folder.path))
