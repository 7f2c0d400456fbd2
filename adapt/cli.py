"""The command line. No logic here: parse, call, print. TensorFlow is imported by `run` alone."""

from __future__ import annotations

import errno
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from adapt.commands import COMMANDS
from adapt.commands.asked import chosen_devices
from adapt.commands.data import image_options
from adapt.commands.device import BINARY_OPTIONS
from adapt.commands.workers import chosen_workers, worker_options
from adapt.errors import AdaptError, InputError, Interrupted, UsageError

if TYPE_CHECKING:
    from adapt.job import JobFolder

__all__ = ["main"]

# numpy's linear algebra: the matrices are too small to gain by threads, and bits of results depend
# on how many there are. It looks when it is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_EPILOG = """Exit codes: 0 done; 2 usage; 3 the budget cannot be met; 4 device; 5 bad model, data
or job; 6 lookup table; 7 tables are left stale; 8 workers die; 75 busy; 130 interrupted (resume a
job with `adapt resume`)."""

_TABLES_HELP = "File with the lookup tables.  [default: that of the configuration]"


class _Group(click.Group):
    """A group that turns errors into one message and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        signal.signal(signal.SIGTERM, _interrupt)
        try:
            return super().invoke(ctx)
        except AdaptError as error:
            _fail(ctx, error)
        except KeyboardInterrupt:
            _fail(ctx, Interrupted("stopped"))
        except OSError as error:
            if error.errno == errno.EPIPE:  # `| head` has read enough; click ends in silence.
                raise
            _fail(ctx, InputError(f"{error.filename or 'a file'}: {error.strerror or error}"))
        except Exception as error:
            if not Interrupted.is_behind(error):
                raise
            _fail(ctx, Interrupted("stopped"))


def _interrupt(signal_number: int, frame: object) -> NoReturn:
    """SIGTERM stops a run as Ctrl-C does."""
    raise KeyboardInterrupt


def _fail(ctx: click.Context, error: AdaptError) -> NoReturn:
    click.echo(f"adapt: {error}", err=True)
    ctx.exit(error.exit_code)


@click.group(cls=_Group, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="adaptd", prog_name="adapt")
def main() -> None:
    """Adapt a trained Keras network to a budget, as measured on the device it ships to."""


for _command in COMMANDS:
    main.add_command(_command)


def _training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that few users turn; their defaults stand in adapt.methods.base.Settings."""
    options = [
        ("--batch", int, "Examples of one training step.  [default: 128]"),
        ("--short-steps", int, "Training steps of proposals that are tuned.  [default: 30]"),
        ("--short-rate", float, "Learning rate of these.  [default: 0.003]"),
        ("--long-steps", int, "Training steps of the result.  [default: 600]"),
        ("--long-rate", float, "Highest learning rate of these.  [default: 0.003]"),
        ("--first-step", float, "First tightening, share of cost.  [default: 0.21, paper 0.05]"),
        ("--decay", float, "Factor on it, each iteration of netadapt-paper.  [default: 0.96]"),
        ("--trial-steps", int, "Steps on which netadapt tries each proposal.  [default: 32]"),
        ("--proposals", int, "How many it makes in each round.  [default: 2, untrained 10]"),
        ("--finalists", int, "Proposals of an iteration that are tuned.  [default: 1]"),
        ("--settling-steps", int, "Further steps of the best of these.  [default: 100]"),
        (
            "--importance",
            click.Choice(["l2", "taylor", "fpgm", "activation"]),
            "Which filters stay.  [default: activation, paper l2]",
        ),
        ("--compensate/--no-compensate", bool, "Filters that stay stand in for those that go."),
        ("--distillation", float, "Share of the loss by the original's outputs.  [default: 0.7]"),
        ("--temperature", float, "Softens these outputs.  [default: 3]"),
        ("--optimiser", click.Choice(["adam", "momentum"]), "Of all training.  [default: adam]"),
        (
            "--augmentation",
            click.Choice(["none", "shift", "flip", "shift+flip"]),
            "How training images are changed by chance.  [default: none]",
        ),
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
    help="latency=50%, latency=1.2ms, macs=6M, params=40k, ... Repeatable; all must hold."
    " latency@pi=20ms: on one of several devices.",
)
@click.option(
    "--target-accuracy",
    type=float,
    default=None,
    help="Least cost at this accuracy on the held-out examples, as 0.9; within --budget if any.",
)
@click.option(
    "--minimise",
    "--minimize",
    metavar="RESOURCE",
    default=None,
    help="With --target-accuracy, what shall be least.  [default: latency]",
)
@click.option(
    "--device",
    "devices",
    metavar="NAME[,KEY=VALUE]...",
    multiple=True,
    default=("local",),
    show_default=True,
    help="The device to measure on; eyeriss: none, the analytic model of that chip alone."
    " Repeatable: the budget is met on all. KEY is backend, threads, cores, core-mask,"
    " agent-python or binary, instead of the options below, or label: what to call it.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder for the results.  [default: adapt-jobs/MODEL-NUMBER]",
)
@click.option(
    "--method",
    type=click.Choice(["netadapt", "netadapt-paper", "uniform"]),
    default="netadapt",
    show_default=True,
    help="How the budget is met.",
)
@click.option(
    "--compare",
    multiple=True,
    type=click.Choice(["uniform"]),
    help="Also make this baseline, trained for as many steps, and its curve beside the family's.",
)
@click.option(
    "--quantize",
    type=click.Choice(["float32", "int8"]),
    default="float32",
    show_default=True,
    help="Precision of the .tflite; int8 is calibrated on --data.",
)
@click.option(
    "--energy",
    type=click.Choice(["meter", "eyeriss"]),
    default="meter",
    show_default=True,
    help="What tells energy: the device's meter, or the analytic model of the Eyeriss chip.",
)
@image_options
@click.option(
    "--holdout",
    type=float,
    default=0.1,
    show_default=True,
    help="Share of the training examples held out for choices.",
)
@click.option(
    "--backend",
    type=click.Choice(["xnnpack", "builtin", "benchmark-model"]),
    default="xnnpack",
    show_default=True,
    help="Kernels of the measured runtime, or a program of Google's.",
)
@BINARY_OPTIONS[0]
@BINARY_OPTIONS[1]
@click.option(
    "--device-threads",
    type=click.IntRange(1, 64),
    default=1,
    show_default=True,
    help="Threads of the measured runtime.",
)
@click.option(
    "--cores",
    type=click.Choice(["big", "little", "all"]),
    default="big",
    show_default=True,
    help="Cores it may use, by their clocks.",
)
@click.option("--core-mask", default="0", help="These cores instead, bit i for CPU i.")
@click.option(
    "--exact",
    is_flag=True,
    help="Measure every kernel; otherwise most times are interpolated during the search.",
)
@click.option(
    "--agent-python",
    type=click.Path(path_type=Path),
    default=None,
    help="Python that runs the agent, for another runtime.",
)
@click.option(
    "--threads",
    type=click.IntRange(1, 1024),
    default=None,
    help="Threads of training, of each worker.  [default: all processors / workers]",
)
@worker_options
@click.option(
    "--seed",
    type=click.IntRange(0, (1 << 31) - 1),
    default=0,
    show_default=True,
    help="Seed of every random choice.",
)
@click.option("--tables", type=click.Path(path_type=Path), default=None, help=_TABLES_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
@click.option("--no-distill", is_flag=True, help="Learn from the labels alone: --distillation 0.")
@_training_options
def run(**options: Any) -> None:
    """Adapt a network to a budget."""
    options["devices"] = chosen_devices(options)
    folder = _new_job(options)
    _carry_out(folder, None, as_json=options["as_json"], fresh=True)


@main.command()
@click.argument("job", type=click.Path(path_type=Path))
@click.option("--tables", type=click.Path(path_type=Path), default=None, help=_TABLES_HELP)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON on stdout.")
def resume(job: Path, tables: Path | None, as_json: bool) -> None:
    """Go on with an interrupted JOB: its folder, or its name among the jobs."""
    from adapt.config import load_config
    from adapt.telemetry import import_tensorflow

    inside = load_config().jobs / job
    import_tensorflow()
    from adapt.job import JobFolder

    path = inside if not job.exists() and inside.exists() else job
    _carry_out(JobFolder.open(path), tables, as_json=as_json, fresh=False)


def _new_job(options: dict[str, Any]) -> JobFolder:
    """A job folder for what the options of `run` ask for."""
    from adapt.telemetry import import_tensorflow

    import_tensorflow()
    from pydantic import ValidationError

    from adapt.config import load_config
    from adapt.job import JobFolder, JobRequest
    from adapt.methods.base import Settings

    turned = {name: options[name] for name in Settings.model_fields if options[name] is not None}
    if options["no_distill"]:
        turned["distillation"] = 0.0
    workers = chosen_workers(options["executor"], options["workers"])
    # Those options that are fields of the request as they stand.
    plain = {name: options[name] for name in JobRequest.model_fields if name in options}
    derived = {
        "model": options["model"].resolve(),
        "model_sha256": _digest(options["model"]),
        "data": _absolute(options["data"]),
        "directory": Path.cwd(),
        "budget": list(options["budgets"]),
        "minimise": options["minimise"] or "latency",
        "compare": list(options["compare"]),
        "threads": options["threads"] or max(1, len(os.sched_getaffinity(0)) // workers),
        "workers": workers,
        "tables": options["tables"] and options["tables"].absolute(),
    }
    try:
        request = JobRequest(**{**plain, **derived, "settings": Settings(**turned)})
    except ValidationError as error:
        _refuse_value(error)
    if options["output"]:
        return JobFolder.create(options["output"], request)
    stem = re.sub(r"[^A-Za-z0-9._-]", "-", options["model"].stem)
    return JobFolder.create_numbered(load_config().jobs, stem, request)


def _digest(model: Path) -> str:
    """SHA-256 of the model file; empty where there is none, of which loading it says more."""
    from adapt.network.load import file_digest

    return file_digest(model) if model.is_file() else ""


def _refuse_value(error: Any) -> NoReturn:
    first = error.errors()[0]
    names = [part for part in first["loc"] if isinstance(part, str)]
    flag = f"--{names[-1].replace('_', '-')} {first['input']}: " if names else ""
    message = first["msg"].removeprefix("Value error, ")
    raise UsageError(f"{flag}{message}", "See adapt run --help.") from error


def _absolute(data: str) -> str:
    """Paths as absolute ones, so that a job can be resumed from elsewhere."""
    return str(Path(data).resolve()) if Path(data).exists() else data


def _carry_out(folder: JobFolder, tables: Path | None, *, as_json: bool, fresh: bool) -> None:
    """Run the job, show how it gets on, write the report and print the result."""
    from adapt.config import load_config
    from adapt.job import execute, resume_command
    from adapt.progress import listener
    from adapt.report import summary, write_report
    from adapt.telemetry import stdout_on_stderr

    config = load_config()
    request = folder.request
    table_file = tables or request.tables or config.table_file
    try:
        with stdout_on_stderr(), listener() as watcher:
            result = execute(
                folder, home=config.home, tables=table_file, listener=watcher, fresh=fresh
            )
            write_report(folder.path / "report.html", request, result)
    except KeyboardInterrupt as error:
        todo = f"Go on with: {resume_command(folder.path)}"
        raise Interrupted("stopped", todo) from error
    if as_json:
        click.echo(result.model_dump_json(indent=1))
    else:
        click.echo(summary(request, result, folder.path))
