"""Numbers as text, for people. What is not known, or makes no sense, reads as a dash."""

from __future__ import annotations

import math

from adapt.budget import format_amount

__all__ = [
    "UNKNOWN",
    "amount",
    "change",
    "count",
    "duration",
    "interval",
    "known",
    "micro",
    "percent",
    "points",
    "ratio",
]

UNKNOWN = "—"

_MINUS = "\N{MINUS SIGN}"

# Two-sided 95 % quantile of the normal distribution.
_Z95 = 1.959964

# Below this many seconds, tenths of a second matter; above this many, seconds do not.
_SHORT_S = 10.0
_LONG_S = 3600.0


def known(value: float | None) -> float | None:
    """`value` if it is a finite number, else None."""
    return value if value is not None and math.isfinite(value) else None


def ratio(part: float | None, whole: float | None) -> float | None:
    """`part` / `whole`; None where either is unknown or `whole` is not positive."""
    part, whole = known(part), known(whole)
    return None if part is None or whole is None or whole <= 0 else part / whole


def amount(resource: str, value: float | None) -> str:
    """`value`, in the resource's unit, in ASCII: "13.3 us"."""
    value = known(value)
    return UNKNOWN if value is None else format_amount(resource, value)


def micro(text: str) -> str:
    """`text` with the sign for micro in place of the "u" that a terminal shows."""
    head, _, unit = text.rpartition(" ")
    return f"{head} \N{MICRO SIGN}{unit[1:]}" if unit in ("us", "uJ") else text


def percent(share: float | None, digits: int = 1) -> str:
    """A share of 1 as a percentage: "49.9%"."""
    share = known(share)
    return UNKNOWN if share is None else f"{share:.{digits}%}"


def change(share: float | None) -> str:
    """A relative difference with its sign: "+1.5%"."""
    share = known(share)
    return UNKNOWN if share is None else f"{share:+.1%}".replace("-", _MINUS)


def points(difference: float | None) -> str:
    """A difference between two shares of 1, in percentage points: "-0.44 points"."""
    difference = known(difference)
    if difference is None:
        return UNKNOWN
    return f"{difference * 100:+.2f} points".replace("-", _MINUS)


def count(number: float | None) -> str:
    """A whole number with its thousands apart: "12,345"."""
    number = known(number)
    return UNKNOWN if number is None else f"{number:,.0f}"


def duration(seconds: float | None) -> str:
    """A time span: "1.5 s", "2 min 05 s" or "3 h 07 min"."""
    seconds = known(seconds)
    if seconds is None:
        return UNKNOWN
    if seconds < _SHORT_S:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < _LONG_S:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"


def interval(share: float | None, examples: int) -> tuple[float, float] | None:
    """Where the accuracy lies with 95 % confidence, `share` of `examples` being right.

    The score interval (Wilson, 1927), which holds near 0 and 1 too. None without examples.
    """
    share = known(share)
    if share is None or examples < 1 or not 0 <= share <= 1:
        return None
    z2 = _Z95**2 / examples
    centre = (share + z2 / 2) / (1 + z2)
    half = math.sqrt(share * (1 - share) * z2 + z2**2 / 4) / (1 + z2)
    return max(0.0, centre - half), min(1.0, centre + half)
