"""The table says of each operator what the schema says."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given
from hypothesis import strategies as st

from adapt.errors import InputError
from adapt.tflite.ops import OPERATORS, Option, make_kernel
from lookup_tables.kernel import Tensor

ELEMENT = Tensor("float32", (1,))

# Fields left out of the table on purpose; see the table's own text.
LEFT_OUT = {"FULLY_CONNECTED": {"quantSpec"}, "RESHAPE": {"newShape"}}


@pytest.mark.parametrize("name", OPERATORS)
def test_table_has_each_option_of_the_schema_with_its_kind(name: str) -> None:
    entry = OPERATORS[name]
    assert entry.code == getattr(schema.BuiltinOperator, name)
    if entry.options_table is None:
        assert entry.options == ()
        return
    assert hasattr(schema.BuiltinOptions, entry.options_table)
    signature = inspect.signature(getattr(schema, f"{entry.options_table}T"))
    defaults = {k: p.default for k, p in signature.parameters.items()}
    assert {o.attribute for o in entry.options} == defaults.keys() - LEFT_OUT.get(name, set())
    kinds = {int: "int", float: "float", bool: "bool", type(None): "ints"}
    for option in entry.options:
        expected = kinds[type(defaults[option.attribute])]
        # The generated code shows enums as plain integers.
        is_enum = expected == "int" and hasattr(schema, option.kind)
        assert option.kind == expected or is_enum


@given(st.floats(width=32, allow_nan=False))
def test_float_options_keep_their_float32(value: float) -> None:
    option = Option("alpha", "float")
    assert np.float32(option.parse(option.spell(value))) == np.float32(value)


def test_float_options_are_spelled_short() -> None:
    kernel = make_kernel("LEAKY_RELU", [ELEMENT], [ELEMENT], alpha=0.1)
    assert kernel.option("alpha") == "0.1"


def test_lists_and_enums_are_spelled_readably() -> None:
    squeeze = make_kernel("SQUEEZE", [ELEMENT], [ELEMENT], squeeze_dims=[0, -2])
    assert squeeze.option("squeeze_dims") == "0x-2"
    assert make_kernel("SQUEEZE", [ELEMENT], [ELEMENT]).option("squeeze_dims") == "none"
    pool = make_kernel("MAX_POOL_2D", [ELEMENT], [ELEMENT], padding="VALID", stride_w=2)
    assert dict(pool.options) == {
        "filter_height": "0",
        "filter_width": "0",
        "fused_activation_function": "NONE",
        "padding": "VALID",
        "stride_h": "0",
        "stride_w": "2",
    }


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="WHILE is not one"):
        make_kernel("WHILE", [ELEMENT], [ELEMENT])
    with pytest.raises(InputError, match="RELU has no option beta"):
        make_kernel("RELU", [ELEMENT], [ELEMENT], beta=1)
    with pytest.raises(InputError, match="padding=WRAP is not a value of Padding"):
        make_kernel("CONV_2D", [ELEMENT], [ELEMENT], padding="WRAP")
    with pytest.raises(InputError, match="unknown value 9 for a Padding"):
        Option("padding", "Padding").spell(9)
