"""Reading files of every origin: trained models, old files, files built wrong on purpose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from adapt.errors import InputError
from adapt.tflite.graph import ABSENT
from adapt.tflite.ops import BUILTIN_CODES, make_kernel
from adapt.tflite.quantities import macs
from adapt.tflite.reader import MAX_TENSORS, read_kernels, read_model
from adapt.tflite.writer import write_kernel
from lookup_tables.kernel import Tensor

CONV = make_kernel(
    "CONV_2D",
    [
        Tensor("int8", (1, 8, 8, 3)),
        Tensor("int8", (4, 3, 3, 3), True, quantized_axis=0),
        Tensor("int32", (4,), True, quantized_axis=0),
    ],
    [Tensor("int8", (1, 8, 8, 4))],
    padding="SAME",
    stride_w=1,
    stride_h=1,
)


def changed(content: bytes, change: Callable[[Any], Any]) -> bytes:
    """The model with `change` made to its object form."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    change(model)
    builder = flatbuffers.Builder(len(content) + 1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def int32(values: list[int]) -> Any:
    return np.array(values, np.int32)


def node_of(model: Any) -> Any:
    return model.subgraphs[0].operators[0]


def tensor_of(model: Any, index: int) -> Any:
    return model.subgraphs[0].tensors[index]


def options_of(op: str) -> Any:
    def change(model: Any) -> None:
        node_of(model).builtinOptionsType = getattr(schema.BuiltinOptions, f"{op}Options")
        node_of(model).builtinOptions = getattr(schema, f"{op}OptionsT")()

    return change


def twice(model: Any) -> None:
    model.subgraphs[0].operators *= 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m, "subgraphs", []), "no graph"),
        (lambda m: setattr(node_of(m), "inputs", int32([0, 1, 99])), "index out of range"),
        (lambda m: setattr(node_of(m), "inputs", int32([-2, 1, 2])), "index out of range"),
        (lambda m: setattr(node_of(m), "outputs", int32([-1])), "index out of range"),
        (lambda m: setattr(node_of(m), "opcodeIndex", 5), "no operator code 5"),
        (lambda m: setattr(tensor_of(m, 1), "buffer", 77), "no buffer 77"),
        (lambda m: setattr(tensor_of(m, 1), "shape", int32([5, 3, 3, 3])), r"108 bytes for"),
        (lambda m: setattr(tensor_of(m, 0), "shape", int32([1, -8, 8, 3])), "a shape of"),
        (lambda m: setattr(tensor_of(m, 0), "shape", int32([1] * 17)), "a shape of"),
        (
            lambda m: setattr(tensor_of(m, 1).quantization, "zeroPoint", np.zeros(1, np.int64)),
            "differ",
        ),
        (lambda m: setattr(tensor_of(m, 1).quantization, "quantizedDimension", 1), "4 scales on"),
        (lambda m: setattr(tensor_of(m, 1), "externalBuffer", 1), "in another file"),
        (lambda m: setattr(m.buffers[1], "data", m.buffers[1].data[:-1]), "107 bytes for"),
        (lambda m: setattr(m.subgraphs[0], "inputs", None), "reads tensor 0 too early"),
        (lambda m: setattr(m.subgraphs[0], "tensors", []), "index out of range"),
        (lambda m: setattr(node_of(m).builtinOptions, "padding", 7), "unknown value 7"),
        (options_of("Add"), "options of another operator"),
        (lambda m: setattr(node_of(m), "inputs", int32([0])), "input 1 is None"),
        (lambda m: setattr(node_of(m), "outputs", None), "CONV_2D has no output"),
        (twice, "overwrites tensor 3"),
    ],
)
def test_unsound_models_are_refused_with_the_reason(
    change: Callable[[Any], Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        read_model(changed(write_kernel(CONV), change))


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\x08\0\0\0TFL2" + bytes(64), b"PK" * 50])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(InputError, match="no TFL3 identifier"):
        read_model(content)


@pytest.mark.parametrize("length", [8, 20, 64, 200, 400])
def test_truncated_models_are_refused(length: int) -> None:
    content = write_kernel(CONV)
    with pytest.raises(InputError):
        read_model(content[:length])


def test_a_vector_shared_by_many_tensors_does_not_multiply_the_work() -> None:
    """A million scales that each of a thousand tensors refers to would unpack to gigabytes."""
    builder = flatbuffers.Builder(1 << 20)
    scales = builder.CreateNumpyVector(np.ones(100_000, np.float32))
    zeros = builder.CreateNumpyVector(np.zeros(100_000, np.int64))
    schema.QuantizationParametersStart(builder)
    schema.QuantizationParametersAddScale(builder, scales)
    schema.QuantizationParametersAddZeroPoint(builder, zeros)
    quantization = schema.QuantizationParametersEnd(builder)
    shape = builder.CreateNumpyVector(np.array([100_000], np.int32))
    schema.TensorStart(builder)
    schema.TensorAddShape(builder, shape)
    schema.TensorAddQuantization(builder, quantization)
    tensor = schema.TensorEnd(builder)
    finish(builder, tensor, 1000)
    with pytest.raises(InputError, match="vectors longer than the file"):
        read_model(bytes(builder.Output()))


def test_the_number_of_tensors_is_limited() -> None:
    builder = flatbuffers.Builder(1 << 20)
    schema.TensorStart(builder)
    tensor = schema.TensorEnd(builder)
    finish(builder, tensor, MAX_TENSORS + 1)
    with pytest.raises(InputError, match="too many tensors"):
        read_model(bytes(builder.Output()))


def finish(builder: Any, tensor: int, count: int) -> None:
    """Close a model whose only graph refers to one tensor `count` times."""
    schema.SubGraphStartTensorsVector(builder, count)
    for _ in range(count):
        builder.PrependUOffsetTRelative(tensor)
    tensors = builder.EndVector()
    schema.SubGraphStart(builder)
    schema.SubGraphAddTensors(builder, tensors)
    graph = schema.SubGraphEnd(builder)
    schema.ModelStartSubgraphsVector(builder, 1)
    builder.PrependUOffsetTRelative(graph)
    graphs = builder.EndVector()
    schema.ModelStart(builder)
    schema.ModelAddSubgraphs(builder, graphs)
    builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")


def test_operators_outside_the_table_are_flagged() -> None:
    def custom(model: Any) -> None:
        model.operatorCodes[0] = schema.OperatorCodeT(
            deprecatedBuiltinCode=32, builtinCode=32, customCode="my-op v2"
        )

    def unknown(model: Any) -> None:
        model.operatorCodes[0] = schema.OperatorCodeT(deprecatedBuiltinCode=127, builtinCode=9999)

    def builtin(model: Any) -> None:
        code = BUILTIN_CODES["CUMSUM"]
        model.operatorCodes[0] = schema.OperatorCodeT(deprecatedBuiltinCode=127, builtinCode=code)

    names = {custom: "CUSTOM_MY_OP_V2", unknown: "BUILTIN_9999", builtin: "CUMSUM"}
    for change, name in names.items():
        (node,) = read_model(changed(write_kernel(CONV), change)).operators
        assert (node.kernel.op, node.supported) == (name, False)
        assert node.kernel.inputs == CONV.inputs
        assert node.kernel.options == ()
        with pytest.raises(InputError, match=name):
            write_kernel(node.kernel)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(tensor_of(m, 0), "type", schema.TensorType.FLOAT64),
        lambda m: setattr(tensor_of(m, 0), "type", 99),
        lambda m: setattr(tensor_of(m, 1), "type", schema.TensorType.INT4),
        lambda m: setattr(tensor_of(m, 1), "sparsity", schema.SparsityParametersT()),
    ],
)
def test_operands_that_kernels_cannot_describe_are_flagged(change: Callable[[Any], Any]) -> None:
    (node,) = read_model(changed(write_kernel(CONV), change)).operators
    assert not node.supported


def test_old_files_hold_the_code_in_a_byte_and_may_lack_options() -> None:
    def old(model: Any) -> None:
        model.operatorCodes[0].builtinCode = 0
        node_of(model).builtinOptions = None
        node_of(model).builtinOptionsType = 0

    add = make_kernel("MUL", [Tensor("float32", (2,))] * 2, [Tensor("float32", (2,))])
    assert read_kernels(changed(write_kernel(add), old)) == [add]


def test_constants_behind_the_flatbuffer_are_found() -> None:
    weights = np.arange(108, dtype=np.int8)
    content = write_kernel(CONV, {1: weights.reshape(4, 3, 3, 3)})

    def place(offset: int) -> bytes:
        def move(model: Any) -> None:
            model.buffers[1] = schema.BufferT(offset=offset, size=weights.size)

        return changed(content, move)

    length = len(place(1 << 20))
    graph = read_model(place(length) + weights.tobytes())
    assert [node.kernel for node in graph.operators] == [CONV]
    assert (graph.constants(graph.operators[0])[1].ravel() == weights).all()
    with pytest.raises(InputError, match="ends behind the file"):
        read_model(place(length) + weights.tobytes()[:-1])


def test_steering_values_end_at_64_elements() -> None:
    def gather(count: int) -> Tensor:
        indices = Tensor("int32", (count,), True, (0,) * count if count <= 64 else None)
        data = Tensor("float32", (8,))
        kernel = make_kernel("GATHER", [data, indices], [Tensor("float32", (count,))])
        (read,) = read_kernels(write_kernel(kernel))
        assert read == kernel
        assert read.inputs[1] is not None
        return read.inputs[1]

    assert gather(64).values == (0,) * 64
    assert gather(65).values is None


def test_edges_tell_sizes() -> None:
    graph = read_model(write_kernel(CONV))
    assert [edge.nbytes for edge in graph.tensors] == [192, 108, 16, 256]
    assert [edge.tensor.constant for edge in graph.tensors] == [False, True, True, False]
    assert (graph.inputs, graph.outputs) == ((0,), (3,))
    assert graph.operators[0].inputs == (0, 1, 2)


def test_left_out_inputs_are_absent() -> None:
    kernel = make_kernel(
        "FULLY_CONNECTED",
        [Tensor("float32", (1, 3)), Tensor("float32", (2, 3), True), None],
        [Tensor("float32", (1, 2))],
    )
    (node,) = read_model(write_kernel(kernel)).operators
    assert node.inputs == (0, 1, ABSENT)
    assert node.kernel.inputs[2] is None


# Multiply-accumulates as published for these networks (MLPerf Tiny; the MobileNet papers).
TRAINED = {
    "kws_dscnn_float.tflite": (13, 2.66e6),
    "kws_dscnn_int8.tflite": (13, 2.66e6),
    "mobilenet_v1_0.25_128_quant.tflite": (31, 13.6e6),
    "mobilenet_v1_0.5_160_quant.tflite": (31, 76.5e6),
    "mobilenet_v2_1.0_224_quant.tflite": (66, 300.8e6),
    "resnet8_cifar10_float.tflite": (16, 12.5e6),
    "resnet8_cifar10_int8.tflite": (16, 12.5e6),
}


@pytest.mark.parametrize("name", TRAINED)
def test_trained_models_run_kernel_by_kernel_as_they_run_whole(
    name: str, models: Path, run: Any, run_alone: Any, random_inputs: Any
) -> None:
    content = (models / name).read_bytes()
    graph = read_model(content)
    operators, work = TRAINED[name]
    assert len(graph.operators) == operators
    assert all(node.supported for node in graph.operators)
    assert sum(macs(node.kernel) for node in graph.operators) == pytest.approx(work, rel=0.005)
    inputs = random_inputs(content)
    for alone, whole in zip(run_alone(graph, *inputs), run(content, *inputs), strict=True):
        assert alone.tobytes() == whole.tobytes()


@pytest.mark.parametrize("name", TRAINED)
def test_kernels_of_trained_models_run_with_noise_for_weights(
    name: str, models: Path, run: Any
) -> None:
    for kernel in set(read_kernels((models / name).read_bytes())):
        content = write_kernel(kernel)
        assert read_kernels(content) == [kernel]
        assert all(np.isfinite(output).all() for output in run(content))


def test_a_model_with_an_unknown_custom_operator_is_read(models: Path) -> None:
    graph = read_model((models / "invalid_invoking_error.tflite").read_bytes())
    assert [n.kernel.op for n in graph.operators] == ["CUSTOM_FAKE_OP_DOUBLE"]
    assert not graph.operators[0].supported
