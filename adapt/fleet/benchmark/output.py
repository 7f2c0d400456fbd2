"""What Google's benchmark_model prints, as a window. Pure, and trusts nothing.

After each of its two rounds, warming up and measuring, it prints one line; times are microseconds:

    count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450
    count=50 first=... avg=1.24027e+06 std=2565 p5=1238753 median=1239807 p95=1247415
    count=1 curr=1357602

and at the end "Inference timings in us: Init: ...". Newer ones begin each line with "INFO: ".
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from lookup_tables.quality import MAX_LATENCY_US, Window

__all__ = ["window"]

MAX_COUNT = 2**31
MAX_LINES = 10_000
# It counts whole microseconds: a run below one takes some all the same.
LEAST_US = 0.1
_ROUND = re.compile(r"(?:INFO: )?count=\d{1,10}(?: [a-z0-9]{1,10}=[0-9.e+-]{1,24}){0,12}\s*")
_FIELD = re.compile(r"([a-z0-9]+)=([0-9.e+-]+)")
_END = re.compile(r"(?:INFO: )?(?:Average inference|Inference) timings in us: ")


def window(text: str, start_ms: float) -> Window:
    """The measuring round of one start of the program, `start_ms` after the batch began.

    Its median stands for the 25th percentile, which it does not print, and its mean where it
    prints no median. Raises ValueError for what is no output of a run that came to its end.
    """
    lines = text.splitlines()[:MAX_LINES]
    rounds = [line for line in lines if _ROUND.fullmatch(line)]
    if not rounds or not any(_END.match(line) for line in lines):
        raise ValueError("it printed no timings")
    fields = dict(_FIELD.findall(rounds[-1]))
    count = int(fields["count"])
    if not 0 < count < MAX_COUNT:
        raise ValueError(f"it counted {count} runs")
    least = _us(fields, "min", "curr")
    mean = _us(fields, "avg", "curr")
    typical = max(_us(fields, "median", "avg", "curr"), least)
    return Window(
        samples=count,
        preempted=0,
        invokes_per_sample=1,
        low_us=typical,
        median_us=typical,
        min_us=least,
        # It does not tell CPU time; wall time is as much as that can be.
        cpu_us=min(mean, typical),
        start_ms=start_ms,
    )


def _us(fields: Mapping[str, str], *names: str) -> float:
    """The first of these fields that is there, microseconds."""
    for name in names:
        if name in fields:
            value = float(fields[name])
            # Written so that NaN is refused as well.
            if not 0 <= value < MAX_LATENCY_US:
                raise ValueError(f"{name} is {fields[name]}")
            return max(value, LEAST_US)
    raise ValueError(f"its timings lack {names[0]}")
