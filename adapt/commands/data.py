"""Options of commands that read examples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

__all__ = ["image_options"]


def image_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What becomes of images on their way into the network."""
    options = [
        click.option(
            "--pixel-range",
            type=(float, float),
            default=(0.0, 255.0),
            show_default=True,
            help="What pixel values 0 and 255 of images become.",
        ),
        click.option("--resize", is_flag=True, help="Scale images to the network's input size."),
    ]
    for option in reversed(options):
        command = option(command)
    return command
