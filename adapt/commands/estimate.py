"""`adapt estimate`: energy and time of networks on the Eyeriss accelerator, with no device."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapt.commands.data import image_options
from adapt.commands.estimate_output import estimate_json, estimate_text, estimates_csv
from adapt.commands.terminal import json_text
from adapt.errors import UsageError

if TYPE_CHECKING:
    from adapt.cost.eyeriss import NetworkEstimate, Settings
    from adapt.estimation import Subject

__all__ = ["estimate"]

_DATA = ("ifmap", "ofmap", "weight")
_PICTURES = (".png", ".svg")


@click.command()
@click.argument("what", nargs=-1, required=True)
@click.option(
    "--hardware",
    default="eyeriss",
    show_default=True,
    help="The accelerator: eyeriss (the chip), isca16 (the analysis), or a .toml file.",
)
@click.option(
    "--policy",
    type=click.Choice(["optimal", "mit2017"]),
    default="optimal",
    show_default=True,
    help="How layers are mapped: at least energy, or as the published tool did.",
)
@click.option(
    "--batch", type=int, help="Images at a time.  [default: as in a list of shapes, or 1]"
)
@click.option(
    "--encoding",
    type=click.Choice(["run-length", "significance-map", "none"]),
    default="run-length",
    show_default=True,
    help="Compression in DRAM.",
)
@click.option(
    "--bits",
    multiple=True,
    metavar="[DATA=]N",
    help="Bits of a value: 8, or weight=4. DATA is ifmap, ofmap or weight; repeatable.",
)
@click.option(
    "--density",
    multiple=True,
    metavar="DATA=SHARE",
    help="Share of values that are not zero, 0 to 1: weight=0.3; repeatable.",
)
@click.option(
    "--data", help="Count the zeros of feature maps on these examples, as of `adapt run`."
)
@click.option(
    "--examples",
    type=click.IntRange(1, 10_000),
    default=64,
    show_default=True,
    help="So many of its test set.",
)
@image_options
@click.option("--pj-per-mac", type=float, help="Picojoules of one MAC: energy in joules as well.")
@click.option(
    "--accuracy",
    type=float,
    multiple=True,
    metavar="PERCENT",
    help="Of each network in turn, for the picture of several; repeatable.",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Also draw the result, .png or .svg.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV: layer by data type by level.")
def estimate(what: tuple[str, ...], **options: Any) -> None:
    """Energy of WHAT on the Eyeriss accelerator, layer by layer; no device is asked.

    WHAT are .keras, .h5 or .tflite files, lists of shapes (.csv), or any of alexnet, googlenet,
    mobilenet-v1, mobilenet-v2, resnet50, squeezenet, vgg16.
    """
    bits, densities = _bits(options["bits"]), _pairs("--density", options["density"])
    _check(what, options)
    from adapt.cost.eyeriss import estimate as price
    from adapt.cost.eyeriss import load_hardware
    from adapt.estimation import DataChoice, read_subject, with_bits, with_densities

    hardware = load_hardware(options["hardware"])
    data = None
    if options["data"] is not None:
        data = DataChoice(
            options["data"], options["examples"], options["pixel_range"], options["resize"]
        )
    found = []
    for name in what:
        subject = read_subject(name, data)
        layers = with_densities(with_bits(subject.layers, bits), densities)
        settings = _settings(options, subject)
        found.append((subject, settings, price(layers, hardware, settings)))
    pj_per_mac = options["pj_per_mac"] or hardware.pj_per_mac
    if options["plot"]:
        _draw(options["plot"], found, options["accuracy"])
    if options["as_json"]:
        click.echo(json_text([estimate_json(hardware, pj_per_mac, *each) for each in found]))
    elif options["as_csv"]:
        click.echo(estimates_csv(found), nl=False)
    else:
        click.echo("\n\n".join(estimate_text(hardware, pj_per_mac, *each) for each in found))


def _check(what: Sequence[str], options: dict[str, Any]) -> None:
    """UsageError for options that are out of range or do not go together."""
    if options["as_json"] and options["as_csv"]:
        raise UsageError("--json and --csv both", "Give one of them.")
    plot, accuracies = options["plot"], options["accuracy"]
    if plot is not None and plot.suffix.lower() not in _PICTURES:
        raise UsageError(f"--plot {plot}: no picture format", "End the name in .png or .svg.")
    if accuracies and (plot is None or len(accuracies) != len(what)):
        raise UsageError(
            f"{len(accuracies)} accuracies for {len(what)} networks"
            + ("" if plot else " and no picture"),
            "Give --plot, and --accuracy once for each network, in their order.",
        )
    for accuracy in accuracies:
        if not 0 <= accuracy <= 100:
            raise UsageError(f"--accuracy {accuracy:g}", "Valid: 0 to 100, percent.")
    if options["pj_per_mac"] is not None and not 0 < options["pj_per_mac"] < float("inf"):
        raise UsageError(f"--pj-per-mac {options['pj_per_mac']:g}", "Valid: a number above 0.")


def _settings(options: dict[str, Any], subject: Subject) -> Settings:
    from adapt.cost.eyeriss import Settings

    batch = subject.batch if options["batch"] is None else options["batch"]
    return Settings(batch=batch, policy=options["policy"], encoding=options["encoding"])


def _bits(texts: Sequence[str]) -> dict[str, float]:
    """Bits by data type; a bare number is of all."""
    named = [text if "=" in text else f"{data}={text}" for text in texts for data in _DATA]
    return _pairs("--bits", list(dict.fromkeys(named)))


def _pairs(option: str, texts: Sequence[str]) -> dict[str, float]:
    """DATA=NUMBER, each at most once."""
    found: dict[str, float] = {}
    for text in texts:
        data, _, number = text.partition("=")
        if data not in _DATA or data in found:
            again = "given twice" if data in found else "no such data"
            raise UsageError(f"{option} {text}: {again}", f"DATA is one of {', '.join(_DATA)}.")
        low, high = (0.0, 1.0) if option == "--density" else (1.0, 64.0)
        try:
            found[data] = float(number)
        except ValueError:
            found[data] = float("nan")
        if not low <= found[data] <= high:
            raise UsageError(f"{option} {text}: not a valid number", f"Valid: {low:g} to {high:g}.")
    return found


def _draw(
    path: Path,
    found: Sequence[tuple[Subject, Settings, NetworkEstimate]],
    accuracies: Sequence[float],
) -> None:
    from adapt.estimate_plots import draw_layers, draw_networks

    if len(found) == 1:
        subject, settings, network = found[0]
        draw_layers(path, subject.name, settings, network)
    else:
        networks = [(subject.name, network) for subject, _, network in found]
        draw_networks(path, networks, found[0][1], accuracies)
