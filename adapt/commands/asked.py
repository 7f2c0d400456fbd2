"""What `adapt run` is asked for, checked before seconds of imports: a slip is told at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapt.budget import Budget, own_resources, parse_names
from adapt.errors import UsageError

if TYPE_CHECKING:
    from adapt.fleet.choice import DeviceChoice

__all__ = ["chosen_devices"]


def chosen_devices(options: dict[str, Any]) -> list[DeviceChoice]:
    """The devices that the options of `adapt run` name.

    UsageError where one cannot be, or where a budget or an accuracy makes no sense, or none is
    given.
    """
    _check_aim(options)
    # These take longer to import.
    from adapt.config import load_config
    from adapt.fleet.choice import core_mask_of, parse_choices
    from adapt.fleet.claim import refuse_unknown

    common = {
        "backend": options["backend"],
        "threads": options["device_threads"],
        "cores": options["cores"],
        "core_mask": core_mask_of(options["core_mask"]),
        "agent_python": _absolute_program(options["agent_python"]),
        "binary": options["binary"] and options["binary"].absolute(),
        "binary_flags": options["binary_flags"],
    }
    choices = parse_choices(options["devices"], common)
    _check_names(options, [choice.label for choice in choices])
    for choice in choices:
        if choice.name not in ("local", "eyeriss"):
            refuse_unknown(choice.name, load_config().home, choice.agent_python)
    return choices


def _check_aim(options: dict[str, Any]) -> None:
    target, minimise = options["target_accuracy"], options["minimise"]
    if options["budgets"]:
        Budget.parse(options["budgets"])
    elif target is None:
        raise UsageError(
            "nothing is asked for",
            "Give a --budget, as latency=50%, or a --target-accuracy, as 0.9, or both.",
        )
    if target is not None:
        _check_target(target, options["method"])
    elif minimise is not None:
        raise UsageError(
            f"--minimise {minimise}: without an accuracy to keep, nothing would be least",
            "Give --target-accuracy as well, or a --budget alone.",
        )


def _check_names(options: dict[str, Any], devices: list[str]) -> None:
    """Refuse resources that `devices` do not have."""
    own = own_resources(modelled_energy=options["energy"] == "eyeriss")
    if options["budgets"]:
        Budget.parse(options["budgets"]).on(devices, own)
    parse_names(options["minimise"] or "latency", devices, own)


def _check_target(target: float, method: str) -> None:
    if not 0 < target <= 1:
        meant = target / 100 if 1 < target <= 100 else 0.9
        raise UsageError(
            f"--target-accuracy {target:g} is no share of the examples",
            f"Give a number above 0 and up to 1, as {meant:g}.",
        )
    if method == "uniform":
        raise UsageError(
            "--method uniform makes one network, not many of which one could be chosen",
            "Leave --method out, and add --compare uniform to have one of equal cost.",
        )


def _absolute_program(program: Path | None) -> Path | None:
    """A path as an absolute one, links kept: they say which environment a Python belongs to."""
    return program.absolute() if program and program.exists() else program
