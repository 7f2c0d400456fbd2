"""Runs `adapt` commands one after the other, each in a process forked from this one.

A forked process has TensorFlow imported already, which saves each command seconds and changes
nothing else: nothing of TensorFlow has run yet. Each line on stdin is {"argv": [...], "cwd": ...,
"env": {...}, "out": FILE, "err": FILE}; the answer is the exit status on a line of stdout.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from adapt.telemetry import import_tensorflow

WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC


def become(command: dict[str, Any]) -> None:
    """Turn this process into what runs `command`, up to its end."""
    from adapt.cli import main

    os.chdir(command["cwd"])
    os.environ.update(command["env"])
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(command[name], WRITE, 0o600), descriptor)
    try:
        main(command["argv"], prog_name="adapt")
    except SystemExit as end:
        sys.stdout.flush()
        sys.stderr.flush()
        # Leaves out the second that TensorFlow takes to be torn down.
        os._exit(end.code if isinstance(end.code, int) else end.code is not None)


def serve() -> None:
    import_tensorflow()
    import adapt.job
    import adapt.progress
    import adapt.report  # noqa: F401

    print("ready", flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            become(command)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    serve()
