"""Layers on ZigZag (Mei et al., KU Leuven), in a Python of its own for `estimators.py`.

    python -m pip install zigzag-dse==3.9.1 six

six is needed by the package but not named by it. Input and output: see `nn_dataflow_driver.py`;
beside that, `ifmap_words`, `weight_words` and `psum_words` of the hardware are read.

Row-stationary as far as ZigZag can say it: rows of the output stand side by side, rows of a filter
(with channels above them) add up one above the other; a dense layer has filters and channels there.
Loop orders are ZigZag's own search, `loma`, with its default limit.
"""

import json
import logging
import sys
import tempfile
import time
from pathlib import Path

import yaml
from zigzag.api import get_hardware_performance_zigzag

WORD_BITS = 16
# Words that cross the buffer's port a cycle: enough not to hold up the array, as in the model.
BUFFER_WORDS = 16
EVERYWHERE = ["D1", "D2"]


def memory(words, cost, operands, served, port_bits):
    """A memory of one port for reading and one for writing; `cost` is that of a word."""
    per_access = cost * port_bits / WORD_BITS
    reads = [f"{each}, tl" for each in operands] + ["O, th"] * ("O" in operands)
    writes = [f"{each}, fh" for each in operands] + ["O, fl"] * ("O" in operands)
    return {
        "size": words * WORD_BITS,
        "r_cost": per_access,
        "w_cost": per_access,
        "area": 0,
        "latency": 1,
        "operands": operands,
        "ports": [
            {
                "name": f"{kind[0]}_port_1",
                "type": kind,
                "bandwidth_min": port_bits,
                "bandwidth_max": port_bits,
                "allocation": allocation,
            }
            for kind, allocation in (("read", reads), ("write", writes))
        ],
        "served_dimensions": served,
    }


def accelerator(hardware):
    """The hardware as ZigZag's file describes one; inputs are I1, weights I2, sums O."""
    dram, buffer, _, scratchpad = hardware["costs"]
    dram_bits = round(hardware["dram_words_per_cycle"] * WORD_BITS)
    return {
        "name": "eyeriss",
        "operational_array": {
            "unit_energy": 1,
            "unit_area": 0,
            "dimensions": EVERYWHERE,
            "sizes": [hardware["columns"], hardware["rows"]],
        },
        "memories": {
            "ifmap_pad": memory(hardware["ifmap_words"], scratchpad, ["I1"], [], WORD_BITS),
            "weight_pad": memory(hardware["weight_words"], scratchpad, ["I2"], [], WORD_BITS),
            "psum_pad": memory(hardware["psum_words"], scratchpad, ["O"], [], WORD_BITS),
            "buffer": memory(
                hardware["buffer_words"], buffer, ["I1", "O"], EVERYWHERE, BUFFER_WORDS * WORD_BITS
            ),
            "dram": memory(10**9, dram, ["I1", "I2", "O"], EVERYWHERE, dram_bits),
        },
    }


def layer_entry(layer, batch):
    """The layer in the words of ZigZag's list of layers."""
    vertical, horizontal = layer["stride"]
    return {
        "id": 0,
        "name": layer["name"],
        "operator_type": "Conv",
        "equation": "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
        "dimension_relations": [f"ix={horizontal}*ox+1*fx", f"iy={vertical}*oy+1*fy"],
        "loop_dims": ["B", "K", "C", "OY", "OX", "FY", "FX"],
        "loop_sizes": [batch, layer["filters"], layer["channels"], *layer["out"], *layer["kernel"]],
        "operand_precision": dict.fromkeys(("I", "W", "O", "O_final"), WORD_BITS),
        "operand_source": {"I": 0, "W": 0},
    }


def spatial(layer, hardware):
    """What stands beside and above one another in the array."""
    rows, columns = hardware["rows"], hardware["columns"]
    if layer["out"] == [1, 1]:
        return {"D1": [f"K, {columns}"], "D2": [f"C, {rows}"]}
    high = min(layer["kernel"][0], rows)
    beside = min(layer["out"][0], columns)
    above = min(layer["channels"], rows // high)
    return {"D1": [f"OY, {beside}"], "D2": [f"FY, {high}", f"C, {above}"]}


def main():
    """Answer each layer as soon as it is known."""
    asked = json.load(sys.stdin)
    logging.disable(logging.CRITICAL)
    links = {"O": "O", "W": "I2", "I": "I1"}
    with tempfile.TemporaryDirectory() as folder:
        machine, mapping = Path(folder, "machine.yaml"), Path(folder, "mapping.yaml")
        machine.write_text(yaml.safe_dump(accelerator(asked["hardware"]), sort_keys=False))
        for layer in asked["layers"]:
            chosen = {
                "name": "default",
                "spatial_mapping": spatial(layer, asked["hardware"]),
                "memory_operand_links": links,
            }
            mapping.write_text(yaml.safe_dump([chosen]))
            start = time.perf_counter()
            energy, cycles, found = get_hardware_performance_zigzag(
                [layer_entry(layer, asked["batch"])],
                str(machine),
                str(mapping),
                opt="energy",
                dump_folder=str(Path(folder, "out")),
                nb_spatial_mappings_generated=1,
                loma_show_progress_bar=False,
            )
            answer = {
                "name": layer["name"],
                "seconds": time.perf_counter() - start,
                "energy": float(energy),
                "cycles": float(cycles),
                "macs": float(found[0][1][0][0].layer.total_mac_count),
            }
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
