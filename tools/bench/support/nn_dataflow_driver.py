"""Layers on nn_dataflow (Gao et al., Stanford), in a Python of its own for `estimators.py`.

    python -m pip install nn-dataflow==2.1 sympy==1.6.2

Its release of 2020 breaks with a sympy of today; 1.6.2 works under Python 3.11.

Reads one JSON object from stdin: `batch`, `hardware` (rows, columns, buffer_words,
scratchpad_words, costs of DRAM, buffer, array and scratchpad in MACs, dram_words_per_cycle), and
`layers` (name, channels, filters, out, kernel, stride; pairs are vertical, horizontal). Writes one
JSON object a line for each layer, for its whole batch: name, seconds, energy in MACs, cycles, macs.
"""

import json
import sys
import time

from nn_dataflow.core import (
    ConvLayer,
    Cost,
    DataLayout,
    FmapPosition,
    FmapRange,
    MapStrategyEyeriss,
    NodeRegion,
    Option,
    PartitionScheme,
    PhyDim2,
    Resource,
    Scheduling,
    SchedulingCondition,
    SchedulingConstraint,
)
from nn_dataflow.core import ParallelEnum as Parallel

ONE = PhyDim2(1, 1)


def region(kind):
    """One accelerator, or the memory beside it."""
    return NodeRegion(dim=ONE, origin=PhyDim2(0, 0), type=kind)


def resource(hardware):
    """One accelerator. Weights are not pinned to it: `no_time_mux` would read them for nothing."""
    memory = region(NodeRegion.DRAM)
    return Resource(
        proc_region=region(NodeRegion.PROC),
        dram_region=memory,
        src_data_region=memory,
        dst_data_region=memory,
        dim_array=PhyDim2(hardware["rows"], hardware["columns"]),
        size_gbuf=hardware["buffer_words"],
        size_regf=hardware["scratchpad_words"],
        array_bus_width=float("inf"),
        dram_bandwidth=hardware["dram_words_per_cycle"],
        no_time_mux=False,
    )


def condition(layer, batch, machine):
    """The layer alone, its input in memory."""
    everything = FmapRange(
        FmapPosition(b=0, n=0, h=0, w=0),
        FmapPosition(b=batch, n=layer.nifm, h=layer.hifm, w=layer.wifm),
    )
    whole = PartitionScheme(order=range(Parallel.NUM), pdims=[ONE] * Parallel.NUM)
    layout = DataLayout(frngs=(everything,), regions=(machine.src_data_region,), parts=(whole,))
    return SchedulingCondition(
        resource=machine,
        constraint=SchedulingConstraint(),
        ifmap_layout=layout,
        sched_seq=(0, 0, 0),
    )


def main():
    """Answer each layer as soon as it is known."""
    asked = json.load(sys.stdin)
    costs = asked["hardware"]["costs"]
    cost = Cost(mac_op=1, mem_hier=tuple(costs), noc_hop=0, idl_unit=0)
    options = Option(opt_goal="e", ntops=1, nprocesses=1)  # Its exhaustive search, in one process.
    machine = resource(asked["hardware"])
    for each in asked["layers"]:
        layer = ConvLayer(
            each["channels"], each["filters"], each["out"], each["kernel"], each["stride"]
        )
        start = time.perf_counter()
        search = Scheduling(layer, asked["batch"], cost, MapStrategyEyeriss)
        found = search.schedule_search(condition(layer, asked["batch"], machine), options)[0]
        answer = {
            "name": each["name"],
            "seconds": time.perf_counter() - start,
            "energy": found.total_cost,
            "cycles": found.total_time,
            "macs": found.total_ops,
        }
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
