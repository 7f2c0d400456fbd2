"""A Python for the agent's workers on which time passes faster: all models seem slower.

    DEVICE_AGENT_PYTHON="python slow_worker.py 1.2"   every worker reports times 1.2 times as long

Both clocks of the estimator are scaled, from the moment the worker starts; what runs is as fast as
ever. Stands in for a device that throttles, which a test cannot order.
"""

from __future__ import annotations

import runpy
import sys
import time
from collections.abc import Callable

from device_agent import estimator


def scaled(read: Callable[[], int], factor: float) -> Callable[[], int]:
    """The clock `read`, which goes on from now at `factor` times its speed."""
    start = read()
    return lambda: start + round((read() - start) * factor)


def main() -> None:
    """Run the module that the rest of the command line names, as `python -s -m` would."""
    factor, (ignore_user, as_module, module, *arguments) = float(sys.argv[1]), sys.argv[2:]
    assert (ignore_user, as_module) == ("-s", "-m")
    clock = estimator.Clock(
        scaled(time.perf_counter_ns, factor), scaled(time.thread_time_ns, factor)
    )
    estimator.Clock = lambda: clock  # type: ignore[assignment, misc]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
