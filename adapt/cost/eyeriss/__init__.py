"""The Eyeriss model: energy and latency of convolutional networks on a row-stationary accelerator.

hardware        accelerators as data
layer, kernels, shape_lists
                what is computed, and where it comes from
mapping         how a layer may be cut up in time and space
traffic         what a mapping moves; the formulas of Chen et al., ISCA 2016
encoding        compression in DRAM
energy          from words moved to energy
policies        which mapping a layer is given
estimate        the answers
"""

from adapt.cost.eyeriss.energy import Settings
from adapt.cost.eyeriss.estimate import LayerEstimate, NetworkEstimate, estimate, estimate_layer
from adapt.cost.eyeriss.hardware import Hardware, load_hardware
from adapt.cost.eyeriss.layer import Layer, Operand

__all__ = [
    "Hardware",
    "Layer",
    "LayerEstimate",
    "NetworkEstimate",
    "Operand",
    "Settings",
    "estimate",
    "estimate_layer",
    "load_hardware",
]
