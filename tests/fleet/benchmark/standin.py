"""A program that takes benchmark_model's arguments, times a model for real and prints as it does.

The real one cannot be had where tests run. What stands in for it is the timing, done by the
Python runtime; the form of the output is that of TensorFlow 2.16 on a Linux board.
"""

import os
import statistics
import sys
import time
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter

flags = dict(word.removeprefix("--").split("=", 1) for word in sys.argv[1:])
if "crash" in flags:
    os.abort()
if "refuse" in flags:
    print("ERROR: Failed to apply the delegate", file=sys.stderr)
    raise SystemExit(1)
interpreter = Interpreter(flags["graph"], num_threads=int(flags["num_threads"]))
interpreter.allocate_tensors()


def measured(name: str) -> str:
    until = time.perf_counter() + float(flags[name])
    times: list[int] = []
    while time.perf_counter() < until or len(times) < 2:
        begun = time.perf_counter_ns()
        interpreter.invoke()
        times.append((time.perf_counter_ns() - begun) // 1000)
    cuts = statistics.quantiles(times, n=20)
    return (
        f"INFO: count={len(times)} first={times[0]} curr={times[-1]} min={min(times)}"
        f" max={max(times)} avg={statistics.mean(times):.6g} std={round(statistics.pstdev(times))}"
        f" p5={cuts[0]:.0f} median={cuts[9]:.0f} p95={cuts[18]:.0f}"
    )


print("INFO: STARTING!")
print(f"INFO: Graph: [{flags['graph']}]")
print(f"INFO: The input model file size (MB): {Path(flags['graph']).stat().st_size / 1e6:g}")
print(measured("warmup_min_secs"))
print(measured("min_secs"))
print("INFO: Inference timings in us: Init: 1, First inference: 1, Warmup (avg): 1, Inference: 1")
