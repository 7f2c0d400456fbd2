"""The operators that can be read and written, with their options, in one table.

Reader and writer both work from this table, so each is the inverse of the other. Names are those
of the TensorFlow Lite schema: operators as in `BuiltinOperator`, options as in the schema file
(`fused_activation_function`), enum members by name.

Not in the table: `new_shape` of RESHAPE, which repeats the shape of the output; `quant_spec` of
FULLY_CONNECTED, which no converter writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from adapt.errors import InputError
from lookup_tables.kernel import Kernel, Tensor

__all__ = [
    "OPERATORS",
    "Operator",
    "Option",
    "OptionValue",
    "Role",
    "check_operands",
    "default_options",
    "make_kernel",
    "operator",
]

# How a caller may give an option: an enum member by name, a number, a bool, a list of integers.
OptionValue = str | float | Sequence[int]

# An empty list of integers still needs a text in a kernel's canonical form.
_EMPTY_LIST = "none"


@cache
def members(enum: str) -> dict[str, int]:
    """The members of one of the schema's enums: name to number."""
    return {k: v for k, v in vars(getattr(schema, enum)).items() if not k.startswith("_")}


BUILTIN_CODES = members("BuiltinOperator")
TENSOR_TYPES = {name.lower(): code for name, code in members("TensorType").items()}


def camel(name: str) -> str:
    """The generated code's name of a field: `stride_w` is StrideW."""
    return "".join(part[:1].upper() + part[1:] for part in name.split("_"))


def _int32(text: str) -> int:
    number = int(text)
    if not -(1 << 31) <= number < 1 << 31:
        raise ValueError(f"{text} is not a 32-bit integer")
    return number


@dataclass(frozen=True, slots=True)
class Option:
    """One builtin option; `kind` is int, bool, float, ints, or the name of a schema enum."""

    name: str
    kind: str

    @property
    def attribute(self) -> str:
        """Its name in the schema's object API: strideW."""
        name = camel(self.name)
        return name[:1].lower() + name[1:]

    def spell(self, value: Any) -> str:
        """The text of a schema value; InputError for an enum member that is not known.

        A float is spelled as the shortest text that gives the same float32.
        """
        if self.kind == "int":
            return str(int(value))
        if self.kind == "bool":
            return "true" if value else "false"
        if self.kind == "float":
            return str(np.float32(value))
        if self.kind == "ints":
            return "x".join(str(int(v)) for v in value) if len(value) else _EMPTY_LIST
        for name, number in members(self.kind).items():
            if number == value:
                return name
        raise InputError(f"option {self.name} has the unknown value {value} for a {self.kind}")

    def parse(self, text: str) -> Any:
        """The schema value of a text; InputError where it is not one."""
        try:
            if self.kind == "int":
                return _int32(text)
            if self.kind == "bool":
                return {"false": False, "true": True}[text]
            if self.kind == "float":
                return float(text)
            if self.kind == "ints":
                numbers = [] if text == _EMPTY_LIST else [_int32(v) for v in text.split("x")]
                return np.array(numbers, np.int32)
            return members(self.kind)[text]
        except (KeyError, ValueError) as error:
            raise InputError(f"option {self.name}={text} is not a value of {self.kind}") from error


@dataclass(frozen=True, slots=True)
class Role:
    """Where the operands of a multiplication with weights stand among an operator's inputs."""

    data: int
    weights: int
    bias: int
    channel_axis: int  # of the weights: the axis that counts output channels
    rank: int  # of the weights


@dataclass(frozen=True, slots=True)
class Operator:
    """What the schema says of one builtin operator.

    `options_table` is the name of its options in the schema's `BuiltinOptions`, or None;
    `version` is the lowest under which every runtime registers it. The runtime looks at a node's
    version only to find the operator; the converter's higher ones say which runtime is needed.
    """

    name: str
    options_table: str | None
    options: tuple[Option, ...]
    role: Role | None = None
    version: int = 1

    @property
    def code(self) -> int:
        """Its number in `BuiltinOperator`."""
        return BUILTIN_CODES[self.name]


def _row(
    names: str,
    table: str | None = None,
    options: Mapping[str, str] | None = None,
    role: Role | None = None,
    version: int = 1,
) -> list[Operator]:
    """The operators called `names`, which share one options table."""
    fields = tuple(Option(name, kind) for name, kind in sorted((options or {}).items()))
    options_table = table and f"{table}Options"
    return [Operator(name, options_table, fields, role, version) for name in names.split()]


_CONV = Role(data=0, weights=1, bias=2, channel_axis=0, rank=4)
_DEPTHWISE = Role(data=0, weights=1, bias=2, channel_axis=3, rank=4)
_FULLY_CONNECTED = Role(data=0, weights=1, bias=2, channel_axis=0, rank=2)
_TRANSPOSE_CONV = Role(data=2, weights=1, bias=3, channel_axis=0, rank=4)

_STRIDES = {"padding": "Padding", "stride_w": "int", "stride_h": "int"}
_DILATION = {"dilation_w_factor": "int", "dilation_h_factor": "int"}
_FUSED = {"fused_activation_function": "ActivationFunctionType"}
_BIAS_TYPE = {"quantized_bias_type": "TensorType"}
_FILTER = {"filter_width": "int", "filter_height": "int"}
_DENSE = {
    "weights_format": "FullyConnectedOptionsWeightsFormat",
    "keep_num_dims": "bool",
    "asymmetric_quantize_inputs": "bool",
}
_MATMUL = {"adj_x": "bool", "adj_y": "bool", "asymmetric_quantize_inputs": "bool"}
_POT_SCALE = {"pot_scale_int16": "bool"}
_RESIZE = {"align_corners": "bool", "half_pixel_centers": "bool"}
_STRIDED_SLICE = {
    "begin_mask": "int",
    "end_mask": "int",
    "ellipsis_mask": "int",
    "new_axis_mask": "int",
    "shrink_axis_mask": "int",
    "offset": "bool",
}

_ROWS = [
    # products with weights
    _row("CONV_2D", "Conv2D", _STRIDES | _DILATION | _FUSED | _BIAS_TYPE, _CONV),
    _row(
        "DEPTHWISE_CONV_2D",
        "DepthwiseConv2D",
        _STRIDES | _DILATION | _FUSED | {"depth_multiplier": "int"},
        _DEPTHWISE,
    ),
    _row("TRANSPOSE_CONV", "TransposeConv", _STRIDES | _FUSED | _BIAS_TYPE, _TRANSPOSE_CONV),
    _row("FULLY_CONNECTED", "FullyConnected", _DENSE | _FUSED | _BIAS_TYPE, _FULLY_CONNECTED),
    _row("BATCH_MATMUL", "BatchMatMul", _MATMUL),
    # element by element, two operands
    _row("ADD", "Add", _POT_SCALE | _FUSED),
    _row("SUB", "Sub", _POT_SCALE | _FUSED),
    _row("MUL", "Mul", _FUSED),
    _row("DIV", "Div", _FUSED),
    _row("MAXIMUM MINIMUM", "MaximumMinimum"),
    _row("SQUARED_DIFFERENCE", "SquaredDifference"),
    _row("POW", "Pow"),
    _row("PRELU"),
    # element by element, one operand
    _row("RELU RELU6 RELU_N1_TO_1 LOGISTIC TANH ELU SQRT RSQRT LOG FLOOR"),
    _row("ABS", "Abs"),
    _row("NEG", "Neg"),
    _row("EXP", "Exp"),
    _row("SQUARE", "Square"),
    _row("HARD_SWISH", "HardSwish"),
    _row("GELU", "Gelu", {"approximate": "bool"}),
    _row("LEAKY_RELU", "LeakyRelu", {"alpha": "float"}),
    _row("QUANTIZE", "Quantize"),
    _row("DEQUANTIZE", "Dequantize"),
    _row("CAST", "Cast", {"in_data_type": "TensorType", "out_data_type": "TensorType"}),
    # over a window or an axis
    _row("AVERAGE_POOL_2D MAX_POOL_2D", "Pool2D", _STRIDES | _FILTER | _FUSED),
    _row("MEAN SUM REDUCE_MAX REDUCE_MIN", "Reducer", {"keep_dims": "bool"}),
    _row("SOFTMAX", "Softmax", {"beta": "float"}),
    _row("LOG_SOFTMAX", "LogSoftmax"),
    _row("L2_NORMALIZATION", "L2Norm", _FUSED),
    _row("ARG_MAX", "ArgMax", {"output_type": "TensorType"}),
    _row("RESIZE_BILINEAR", "ResizeBilinear", _RESIZE),
    _row("RESIZE_NEAREST_NEIGHBOR", "ResizeNearestNeighbor", _RESIZE),
    # moving data
    _row("CONCATENATION", "Concatenation", {"axis": "int"} | _FUSED),
    _row("PAD", "Pad"),
    _row("PADV2", "PadV2"),
    _row("MIRROR_PAD", "MirrorPad", {"mode": "MirrorPadMode"}),
    _row("RESHAPE", "Reshape"),
    _row("SQUEEZE", "Squeeze", {"squeeze_dims": "ints"}),
    _row("EXPAND_DIMS", "ExpandDims"),
    _row("TRANSPOSE", "Transpose"),
    _row("SPLIT", "Split", {"num_splits": "int"}),
    _row("SPLIT_V", "SplitV", {"num_splits": "int"}),
    _row("SLICE", "Slice"),
    _row("STRIDED_SLICE", "StridedSlice", _STRIDED_SLICE),
    _row("PACK", "Pack", {"values_count": "int", "axis": "int"}),
    _row("UNPACK", "Unpack", {"num": "int", "axis": "int"}),
    _row("GATHER", "Gather", {"axis": "int", "batch_dims": "int"}),
    _row("TILE", "Tile"),
    _row("BROADCAST_TO", "BroadcastTo", version=2),
    _row("SHAPE", "Shape", {"out_type": "TensorType"}),
    _row("SPACE_TO_DEPTH", "SpaceToDepth", {"block_size": "int"}),
    _row("DEPTH_TO_SPACE", "DepthToSpace", {"block_size": "int"}),
    _row("SPACE_TO_BATCH_ND", "SpaceToBatchND"),
    _row("BATCH_TO_SPACE_ND", "BatchToSpaceND"),
]

OPERATORS: Mapping[str, Operator] = {entry.name: entry for row in _ROWS for entry in row}


def operator(name: str) -> Operator:
    """The table's entry for a builtin operator; InputError where there is none."""
    try:
        return OPERATORS[name]
    except KeyError:
        raise InputError(f"operator {name} is not one that can be written alone") from None


def check_operands(kernel: Kernel) -> None:
    """InputError unless a kernel has the operands from which its work is counted."""
    entry = operator(kernel.op)
    if not kernel.outputs:
        raise InputError(f"{kernel.op} has no output")
    ranks = {}
    if entry.role is not None:
        ranks = {entry.role.data: 0, entry.role.weights: entry.role.rank}
    elif kernel.op == "BATCH_MATMUL":
        ranks = {0: 2, 1: 2}
    for position, rank in ranks.items():
        tensor = kernel.inputs[position] if position < len(kernel.inputs) else None
        if tensor is None or len(tensor.shape) < rank:
            raise InputError(
                f"{kernel.op}: input {position} is {tensor}, of fewer than {rank} axes"
            )


def default_options(entry: Operator) -> dict[str, str]:
    """The schema's default of each option, in canonical spelling."""
    if entry.options_table is None:
        return {}
    defaults = getattr(schema, f"{entry.options_table}T")()
    values = {option: getattr(defaults, option.attribute) for option in entry.options}
    return {o.name: o.spell(() if value is None else value) for o, value in values.items()}


def make_kernel(
    op: str,
    inputs: Iterable[Tensor | None],
    outputs: Iterable[Tensor],
    **options: OptionValue,
) -> Kernel:
    """A kernel whose options not given stand at the schema's default, all in canonical spelling.

    Enum options are given by name (`padding="SAME"`). Raises InputError for an operator or an
    option that is not in the table.
    """
    entry = operator(op)
    spelled = default_options(entry)
    by_name = {option.name: option for option in entry.options}
    for name, value in options.items():
        if name not in by_name:
            raise InputError(f"{op} has no option {name}")
        option = by_name[name]
        spelled[name] = option.spell(option.parse(value) if isinstance(value, str) else value)
    return Kernel.make(op, inputs, outputs, spelled)
