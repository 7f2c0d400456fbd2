"""Every error that a user can cause or meet, in one tree.

    AdaptError                 1   (base; an exit code is never 1 in a subclass)
    ├── UsageError             2   a flag or a value that is not understood
    ├── BudgetUnreachable      3   no network of this family meets the budget or keeps the accuracy
    ├── DeviceError            4   the device or its agent cannot be used, or stopped answering
    │   └── LinkError             in adapt.fleet.link, with Unauthorised, Gone, TimedOut, Refused
    ├── InputError             5   a bad model, data set or job folder
    ├── TableError             6   a lookup table that cannot be read or written
    ├── Stale                  7   entries of a lookup table are left that are out of date
    ├── WorkerError            8   a worker of --executor cannot be started, or does not live
    ├── Busy                  75   somebody else holds the device or the job
    └── Interrupted          130   Ctrl-C; the job can be resumed

Each says what was wrong, where, and what to do next.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "AdaptError",
    "BudgetUnreachable",
    "Busy",
    "DeviceError",
    "InputError",
    "Interrupted",
    "Stale",
    "TableError",
    "UsageError",
    "WorkerError",
]


class AdaptError(Exception):
    """One message for the user: `what` happened, and what `todo` about it."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, todo: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.todo = todo

    def __str__(self) -> str:
        return f"{self.what}\n  {self.todo}" if self.todo else self.what


class UsageError(AdaptError):
    """A flag or a value that is not understood."""

    exit_code = 2


class BudgetUnreachable(AdaptError):
    """No network of this family meets the budget, or keeps the accuracy that is asked for."""

    exit_code = 3


class DeviceError(AdaptError):
    """The device or its agent cannot be used, or stopped answering."""

    exit_code = 4


class InputError(AdaptError):
    """A bad model, data set or job folder."""

    exit_code = 5


class TableError(AdaptError):
    """A lookup table that cannot be read or written."""

    exit_code = 6


class Stale(AdaptError):
    """Entries are left out of date: the time limit came first, or kernels could not be measured."""

    exit_code = 7


class WorkerError(AdaptError):
    """A worker of an executor cannot be started, or ends whatever it is given."""

    exit_code = 8


class Busy(AdaptError):
    """Somebody else holds the device or the job."""

    exit_code = 75


class Interrupted(AdaptError):
    """The user pressed Ctrl-C; what was journalled is kept."""

    exit_code = 130

    @staticmethod
    def is_behind(error: BaseException | None) -> bool:
        """Whether Ctrl-C caused `error`: native modules turn it into an ImportError."""
        while error is not None and not isinstance(error, KeyboardInterrupt):
            error = error.__cause__ or error.__context__
        return error is not None
