"""What a .tflite file would take: on a real agent of this machine, files of every origin."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import flatbuffers  # type: ignore[import-untyped]
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from adapt.cost.interval import SHARED_ERROR
from adapt.errors import Busy, InputError, UsageError
from adapt.fleet.claim import claimed
from adapt.fleet.device import MeasureOptions
from adapt.fleet.local import LocalDevice
from adapt.prediction import Origin, predict, predict_offline, predict_on_eyeriss, read_file
from adapt.tflite.graph import OperatorGraph
from adapt.tflite.ops import make_kernel
from adapt.tflite.reader import read_model
from adapt.tflite.writer import write_kernel
from lookup_tables import Store, Tensor
from lookup_tables.exchange import Row, merge

# A loose target and few windows: what is tested is the path, on a machine that may be busy.
OPTIONS = MeasureOptions(target_relative_error=0.3, max_windows=6, window_us=1000)
MUTANTS = 300

LOGISTIC = make_kernel("LOGISTIC", [Tensor("float32", (1, 64))], [Tensor("float32", (1, 64))])
DENSE = make_kernel(
    "FULLY_CONNECTED",
    [
        Tensor("float32", (1, 64)),
        Tensor("float32", (8, 64), True),
        Tensor("float32", (8,), True),
    ],
    [Tensor("float32", (1, 8))],
)


def with_custom_operator(content: bytes) -> bytes:
    """The model with an operator behind its last that no runtime knows."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    graph = model.subgraphs[0]
    (last,) = graph.outputs
    graph.tensors.append(schema.TensorT(shape=np.array([1, 3], np.int32), buffer=0, name="out"))
    graph.outputs = np.array([len(graph.tensors) - 1], np.int32)
    model.operatorCodes.append(
        schema.OperatorCodeT(deprecatedBuiltinCode=32, builtinCode=32, customCode="Magic")
    )
    node = schema.OperatorT(opcodeIndex=1, inputs=np.array([last], np.int32), outputs=graph.outputs)
    graph.operators.append(node)
    builder = flatbuffers.Builder(len(content) + 1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.fixture(scope="module")
def local() -> Iterator[LocalDevice]:
    with LocalDevice() as device:
        yield device


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "table.db") as opened:
        yield opened


def test_missing_kernels_are_measured_once(local: LocalDevice, store: Store) -> None:
    graph = read_model(write_kernel(DENSE))
    before = predict(graph, store, local, options=OPTIONS, measure=False)
    assert [o.origin for o in before.operators] == [Origin.MISSING]
    assert (before.nothing_known, before.total_us) == (True, 0.0)
    shown: list[tuple[int, int]] = []
    first = predict(
        graph, store, local, options=OPTIONS, on_progress=lambda *done: shown.append(done)
    )
    assert shown[-1] == (1, 1)
    assert first == predict(graph, store, local, options=OPTIONS)
    assert first == predict(graph, store, local, options=OPTIONS, measure=False)
    assert store.counts(first.platform).batches >= 1


def test_totals_shares_and_intervals(local: LocalDevice, store: Store) -> None:
    platform = local.platform(OPTIONS.backend, OPTIONS.threads, OPTIONS.core_mask)
    merge(store, [Row(platform, DENSE, 6.0, 0.1, 2.0, 1.0, "colleague")], 2.0)
    prediction = predict(
        read_model(write_kernel(DENSE)), store, local, options=OPTIONS, measure=False
    )
    (operator,) = prediction.operators
    assert (operator.origin, operator.detail) == (Origin.IMPORTED, "colleague")
    assert (operator.latency_us, operator.relative_error, operator.share) == (6.0, 0.1, 0.75)
    assert (prediction.call_us, prediction.total_us) == (2.0, 8.0)
    # What the kernel states, and what all of a sitting share.
    error = math.hypot(0.6, SHARED_ERROR * 8.0)
    assert prediction.interval_us == pytest.approx((8.0 - error, 8.0 + error))


def test_what_cannot_be_timed_alone_is_its_own_term(local: LocalDevice, store: Store) -> None:
    graph = read_model(with_custom_operator(write_kernel(LOGISTIC)))
    prediction = predict(graph, store, local, options=OPTIONS)
    known, unknown = prediction.operators
    assert known.origin == Origin.MEASURED
    assert (unknown.origin, unknown.latency_us, unknown.share) == (Origin.UNSUPPORTED, None, None)
    assert prediction.unknown == (unknown,)
    assert prediction.unknown_by_name == {"CUSTOM_MAGIC": 1}
    assert known.latency_us is not None
    assert prediction.total_us == math.fsum((prediction.call_us, known.latency_us))
    assert not prediction.nothing_known


def test_weights_of_a_type_that_kernels_lack(local: LocalDevice, store: Store) -> None:
    model = schema.ModelT.InitFromPackedBuf(write_kernel(DENSE), 0)
    model.subgraphs[0].tensors[1].type = schema.TensorType.INT4
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    graph = read_model(bytes(builder.Output()))
    assert graph.constant_bytes(graph.operators[0]) == (8 * 64 + 8) * 4
    prediction = predict(graph, store, local, options=OPTIONS, measure=False)
    assert [o.origin for o in prediction.operators] == [Origin.UNSUPPORTED]
    assert prediction.unknown_by_name == {"FULLY_CONNECTED": 1}


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_measuring_ends_when_its_time_is_up(
    store: Store, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    """Before the first batch, and during it."""
    graph = read_model(write_kernel(DENSE))
    monkeypatch.setattr("adapt.prediction.MEASURING_S", seconds)
    with LocalDevice() as device:
        (operator,) = predict(graph, store, device, options=OPTIONS).operators
    assert (operator.origin, operator.latency_us) == (Origin.MISSING, None)
    assert "run again" in operator.detail
    assert store.platforms() == []


def test_what_the_runtime_refuses_is_not_counted(local: LocalDevice, store: Store) -> None:
    tensor = Tensor("bool", (1, 4))
    graph = read_model(write_kernel(make_kernel("LOGISTIC", [tensor], [tensor])))
    for measure in (True, False):
        prediction = predict(graph, store, local, options=OPTIONS, measure=measure)
        (operator,) = prediction.operators
        assert (operator.origin, operator.latency_us) == (Origin.FAILED, None)
        assert "refused" in operator.detail


def test_a_model_that_unfolds_in_memory_is_refused(local: LocalDevice, store: Store) -> None:
    """A file of some hundred bytes whose operator makes 32 GiB of four numbers."""
    times = Tensor("int32", (2,), True, (1 << 14, 1 << 17))
    operands = [Tensor("float32", (1, 4)), times]
    tile = make_kernel("TILE", operands, [Tensor("float32", (1, 8))])
    (operator,) = predict(read_model(write_kernel(tile)), store, local, options=OPTIONS).operators
    assert operator.origin == Origin.FAILED


def mutant(content: bytes, chance: np.random.Generator) -> bytes:
    """A copy that is cut, or has a few bytes changed."""
    data = bytearray(content)
    if chance.integers(8) == 0:
        del data[chance.integers(0, len(data)) :]
        return bytes(data)
    for _ in range(chance.integers(1, 9)):
        data[chance.integers(8, len(data))] = chance.choice([0, 1, 127, 128, 255])
    return bytes(data)


def read_or_refuse(path: Path) -> OperatorGraph | None:
    """What is in the file; None where it is refused by its name."""
    try:
        return read_file(path)[1]
    except InputError as error:
        return None if str(path) in str(error) else pytest.fail(f"no name: {error}")


@pytest.mark.parametrize("make", [write_kernel, lambda k: with_custom_operator(write_kernel(k))])
def test_mutants_are_priced_or_refused(
    local: LocalDevice, store: Store, tmp_path: Path, make: Callable[[Any], bytes]
) -> None:
    chance = np.random.default_rng(3)
    content = make(DENSE)
    path = tmp_path / "mutant.tflite"
    platform = local.platform(OPTIONS.backend, OPTIONS.threads, OPTIONS.core_mask)
    merge(store, [Row(platform, LOGISTIC, 6.0, 0.1, 2.0, 1.0, "colleague")], 2.0)
    refused = 0
    for _ in range(MUTANTS):
        path.write_bytes(mutant(content, chance))
        graph = read_or_refuse(path)
        if graph is None:
            refused += 1
            continue
        for prediction in (
            predict(graph, store, local, options=OPTIONS, measure=False),
            predict_on_eyeriss(graph),
            predict_offline(graph, store, platform),
        ):
            assert len(prediction.operators) == len(graph.operators)
            assert math.isfinite(prediction.total_us)
    assert 0 < refused < MUTANTS


def test_offline_every_operator_has_a_time(local: LocalDevice, store: Store) -> None:
    """One kernel measured on this machine tells another, roughly, and says so."""
    measured = predict(read_model(write_kernel(DENSE)), store, local, options=OPTIONS)
    assert measured.platform is not None
    graph = read_model(with_custom_operator(write_kernel(LOGISTIC)))
    prediction = predict_offline(graph, store, measured.platform)
    told, unknown = prediction.operators
    assert (told.origin, unknown.origin) == (Origin.ANALYTIC, Origin.UNSUPPORTED)
    assert told.latency_us is not None
    assert told.relative_error is not None
    assert told.relative_error > 1
    assert prediction.interval_us[0] == 0.0
    assert sum(prediction.shares.values()) == pytest.approx(1)
    assert set(prediction.shares) == {Origin.MEASURED, Origin.ANALYTIC}
    assert "calibrated to 1 kernel, error unknown" in prediction.told_by
    # What was measured stays what it is.
    (again,) = predict_offline(read_model(write_kernel(DENSE)), store, measured.platform).operators
    assert again.origin == Origin.MEASURED


def test_with_nothing_measured_times_are_the_chips(local: LocalDevice, store: Store) -> None:
    graph = read_model(write_kernel(DENSE))
    platform = local.platform(OPTIONS.backend, OPTIONS.threads, OPTIONS.core_mask)
    prediction = predict_offline(graph, store, platform)
    assert prediction == predict_on_eyeriss(graph)
    assert prediction.platform is None
    assert prediction.shares == {Origin.ANALYTIC: 1.0}
    (operator,) = predict_on_eyeriss(read_model(write_kernel(LOGISTIC))).operators
    assert (operator.latency_us, operator.detail) == (0.0, "not counted by the model")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "absent.tflite", tmp_path):
        with pytest.raises(InputError, match="there is no file"):
            read_file(path)


def test_a_device_is_claimed_by_one(tmp_path: Path) -> None:
    with claimed("local", home=tmp_path) as device:
        assert device.describe().identity.runtime
        with pytest.raises(Busy, match="in use by process"), claimed("local", home=tmp_path):
            pass
    with claimed("local", home=tmp_path):
        pass
    with pytest.raises(UsageError, match="toaster"), claimed("toaster", home=tmp_path):
        pass
