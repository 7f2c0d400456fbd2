"""Who is told how a job gets on."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from adapt.methods.base import State

__all__ = ["Listener"]


class Listener(Protocol):
    """Who is told how a job gets on."""

    def began(self, folder: Path) -> None:
        """The job in `folder` has what it needs, and can be resumed from now on."""
        ...

    def notify(self, line: str) -> None:
        """One line about what goes on now."""
        ...

    def say(self, line: str) -> None:
        """One line about what has been found."""
        ...

    def measuring(self, done: int, total: int, device: str) -> None:
        """So many of the kernels to be measured on `device` are."""
        ...

    def advanced(self, track: str, state: State) -> None:
        """A step is complete; `track` is empty for the job itself, else the baseline's name."""
        ...
