"""Arrays and functions as data sets."""

from __future__ import annotations

import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from adapt.errors import InputError
from adapt.training import rows
from adapt.training.data import Data, DataOptions, load_data

SHAPE, OUTPUTS, COUNT = (4, 5), 3, 30
INPUTS = np.random.default_rng(0).random((COUNT, *SHAPE), np.float32)
LABELS = np.arange(COUNT) % OUTPUTS

Save = Callable[..., str]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Writes arrays to an .npz file; those not named are good ones."""

    def write(**arrays: Any) -> str:
        path = tmp_path / "data.npz"
        named = {"x_train": INPUTS, "y_train": LABELS, **arrays}
        np.savez(path, **{name: value for name, value in named.items() if value is not None})
        return str(path)

    return write


def load(source: str) -> Data:
    return load_data(source, SHAPE, OUTPUTS, DataOptions())


def test_without_test_examples(save: Save) -> None:
    data = load(save())
    assert (len(data.train), len(data.holdout), len(data.test)) == (24, 3, 3)
    assert data.classes == ("0", "1", "2")
    assert data.train.inputs.dtype == np.float32
    assert data.prepared(data.train.inputs) == pytest.approx(data.train.inputs)


def test_with_test_examples(save: Save) -> None:
    data = load(save(x_test=INPUTS[:7], y_test=LABELS[:7]))
    assert (len(data.train), len(data.holdout), len(data.test)) == (27, 3, 7)
    assert (data.test.inputs == INPUTS[:7]).all()


def test_bytes_stay_bytes_and_are_not_scaled(save: Save) -> None:
    stored = (INPUTS * 255).astype(np.uint8)
    data = load_data(save(x_train=stored), SHAPE, OUTPUTS, DataOptions(pixel_range=(0, 1)))
    assert data.train.inputs.dtype == np.uint8
    assert data.prepared(data.train.inputs).max() > 1


@pytest.mark.parametrize(
    "labels",
    [np.eye(OUTPUTS)[LABELS], LABELS[:, None], LABELS.astype(np.uint8), LABELS.astype(float)],
    ids=["one-hot", "column", "bytes", "whole floats"],
)
def test_forms_of_labels(save: Save, labels: np.ndarray) -> None:
    assert load(save(y_train=labels)).digest == load(save()).digest


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS + 0.5, "not class numbers, but from 0.5 to 2.5"),
        (np.where(LABELS == 1, np.nan, LABELS), "not class numbers"),
        (LABELS - 1, "not class numbers, but from -1 to 1"),
        (np.where(LABELS == 1, 2**40, LABELS), "not class numbers"),
        (LABELS + 1, "has 4 classes, the network has 3 outputs"),
        (LABELS * 0, "single class"),
        (LABELS[:-1], "30 inputs but 29 labels"),
        (np.zeros((COUNT, 2, 2)), "each label is 2x2"),
        (np.array(3), "must be numbers"),
        (LABELS.astype(str), "must be numbers"),
        (LABELS.astype(complex), "must be numbers"),
    ],
)
def test_labels_that_are_not(save: Save, labels: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(save(y_train=labels))


def test_test_labels_out_of_range(save: Save) -> None:
    with pytest.raises(InputError, match="has 6 classes, the network has 3 outputs"):
        load(save(x_test=INPUTS[:1], y_test=np.array([5])))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.where(INPUTS > 0.9, np.nan, INPUTS), "NaN or infinite"),
        (INPUTS.astype(float) * 1e300, "NaN or infinite"),
        (INPUTS.astype(complex), "must be numbers"),
        (np.array(1.0), "must be numbers"),
        (INPUTS[:, :3], "are 3x5, the network takes 4x5"),
        (INPUTS[:, 0, 0], "are single numbers, the network takes 4x5"),
    ],
)
def test_inputs_that_are_not(save: Save, inputs: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(save(x_train=inputs))


def test_nothing_is_unpickled(save: Save, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "exploded",)

    with pytest.raises(InputError, match="cannot be read: Object arrays"):
        load(save(x_train=np.array([Bomb()] * COUNT, dtype=object)))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    "arrays",
    [
        {"x_train": None, "inputs": INPUTS},
        {"y_train": None},
        {"x_test": INPUTS},
        {"y_test": LABELS},
    ],
)
def test_wrong_keys(save: Save, arrays: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"data\.npz holds ") as caught:
        load(save(**arrays))
    assert "x_train and y_train" in caught.value.todo


def test_no_examples(save: Save) -> None:
    with pytest.raises(InputError, match="holds no examples"):
        load(save(x_train=INPUTS[:0], y_train=LABELS[:0]))


@pytest.mark.parametrize("count", [2, 3])
def test_too_few_examples(save: Save, count: int) -> None:
    source = save(x_train=INPUTS[:count], y_train=LABELS[:count])
    if count == 3:
        data = load(source)
        assert len(data.train) == len(data.holdout) == len(data.test) == 1
    else:
        with pytest.raises(InputError, match="too few to hold 1 out"):
            load(source)


def test_no_such_file(tmp_path: Path) -> None:
    for name in ("none.npz", "none", "none.csv"):
        with pytest.raises(InputError, match=f"no data at .*/{name}"):
            load(str(tmp_path / name))
    (tmp_path / "data.csv").write_text("1,2")
    with pytest.raises(InputError, match="is not a data set"):
        load(str(tmp_path / "data.csv"))


def test_files_that_are_not_archives(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    with path.open("wb") as file:
        np.save(file, INPUTS)
    with pytest.raises(InputError, match=r"is not an \.npz file"):
        load(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x_train", b"no array")
    with pytest.raises(InputError, match="cannot be read"):
        load(str(path))


@pytest.mark.parametrize("write", [np.savez, np.savez_compressed])
def test_damage_is_refused_or_harmless(tmp_path: Path, write: Callable[..., None]) -> None:
    path, chance, refused = tmp_path / "data.npz", random.Random(1), 0
    write(path, x_train=INPUTS, y_train=LABELS)
    good = path.read_bytes()
    for _ in range(400):
        content = bytearray(good)
        for _ in range(chance.choice([1, 2, 5])):
            content[chance.randrange(len(content))] = chance.randrange(256)
        path.write_bytes(content)
        try:
            load(str(path))
        except InputError:
            refused += 1
    assert refused > 100


def test_files_too_large(save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    source = save(unused=np.zeros(10_000))
    size = INPUTS.nbytes + LABELS.nbytes
    monkeypatch.setattr(rows, "MAX_BYTES", size + 1000)
    load(source)
    monkeypatch.setattr(rows, "MAX_BYTES", size)
    with pytest.raises(InputError, match="in memory, more than"):
        load(source)


# --- functions ---------------------------------------------------------------------------------

FUNCTIONS = """
import numpy as np
import tensorflow as tf

inputs = np.random.default_rng(0).random((30, 4, 5), np.float32)
labels = np.arange(30) % 3
both = tf.data.Dataset.from_tensor_slices((inputs, labels))
number = 3

def unbatched(): return both
def batched(): return both.batch(7)
def tuple_of_one(): return (both,)
def pair(): return both.take(20), both.skip(20).batch(2)
def one_hot(): return tf.data.Dataset.from_tensor_slices((inputs, np.eye(3)[labels]))
def as_wide_as_classes():  # Each input has as many rows as its one-hot label has numbers.
    return tf.data.Dataset.from_tensor_slices((inputs[:, :3], np.eye(3)[labels]))
def three(): return both, both, both
def arrays(): return inputs, labels
def nothing(): return None
def empty(): return both.take(0)
def endless(): return both.repeat()
def secretly_endless(): return both.repeat().filter(lambda x, y: True)
def inputs_only(): return tf.data.Dataset.from_tensor_slices(inputs)
def named(): return both.map(lambda x, y: {"image": x, "label": y})
def ragged():
    sizes = lambda: ((np.zeros((4, n), np.float32), n % 3) for n in range(5))
    return tf.data.Dataset.from_generator(
        sizes, output_signature=(tf.TensorSpec((4, None)), tf.TensorSpec((), tf.int32)))
def fails(): raise KeyError("no such column")
def fails_later():
    return both.map(lambda x, y: (tf.debugging.check_numerics(x / 0.0, "bad pixel"), y))
def wants_more(path): return both
"""


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of the user's in the working folder, which is not on the search path."""
    (tmp_path / "my_digits.py").write_text(FUNCTIONS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", ".")])
    monkeypatch.delitem(sys.modules, "my_digits", raising=False)
    return "my_digits"


@pytest.mark.parametrize("name", ["unbatched", "batched", "tuple_of_one", "one_hot"])
def test_functions_of_one_set(functions: str, save: Save, name: str) -> None:
    assert load(f"{functions}:{name}").digest == load(save()).digest


def test_functions_of_two_sets(functions: str) -> None:
    data = load(f"{functions}:pair")
    assert (len(data.train), len(data.holdout), len(data.test)) == (18, 2, 10)
    assert (data.test.inputs == INPUTS[20:]).all()


def test_a_single_example_is_not_taken_for_a_batch(functions: str) -> None:
    data = load_data(f"{functions}:as_wide_as_classes", (3, 5), 3, DataOptions())
    assert len(data.train) + len(data.holdout) + len(data.test) == COUNT


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("three", "returned 3 values"),
        ("arrays", "returned ndarray, not a tf.data set"),
        ("nothing", "returned NoneType, not a tf.data set"),
        ("empty", "holds no examples"),
        ("endless", "never ends"),
        ("inputs_only", "reading its data set .* raised ValueError"),
        ("named", "must be numbers"),
        ("ragged", "reading its data set .* raised ValueError"),
        ("fails", "calling it raised KeyError: 'no such column'"),
        ("fails_later", "raised InvalidArgumentError: .*bad pixel"),
        ("wants_more", "calling it raised TypeError"),
        ("number", "no function 'number'"),
        ("absent", "no function 'absent'"),
        ("", "no function ''"),
    ],
)
def test_functions_that_are_not(functions: str, name: str, message: str) -> None:
    with pytest.raises(InputError, match=f"(?s){message}") as caught:
        load(f"{functions}:{name}")
    assert functions in caught.value.what


def test_unknown_length_is_bounded_by_memory(
    functions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "MAX_BYTES", 100 * INPUTS[0].nbytes)
    with pytest.raises(InputError, match="in memory, more than"):
        load(f"{functions}:secretly_endless")


@pytest.mark.parametrize(
    ("content", "message"),
    [("import no_such_module", "ModuleNotFoundError"), ("1 +", "SyntaxError"), ("1 / 0", "Zero")],
)
def test_modules_that_cannot_be_imported(functions: str, content: str, message: str) -> None:
    Path("my_broken.py").write_text(content)
    with pytest.raises(InputError, match=f"importing it raised {message}"):
        load("my_broken:load")
    with pytest.raises(InputError, match="importing it raised ModuleNotFoundError"):
        load("no_such_module:load")
