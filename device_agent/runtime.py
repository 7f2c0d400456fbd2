"""The one place that knows the TFLite runtimes and their backends.

ai-edge-litert, tflite-runtime and TensorFlow's own tf.lite offer the same interpreter under three
names; the first that can be imported is used. Importing one costs up to 12 seconds (TensorFlow),
and a damaged model may kill the process: only a worker calls this module.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.metadata
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

# (distribution, module of the interpreter), best first.
RUNTIMES = (
    ("ai-edge-litert", "ai_edge_litert.interpreter"),
    ("tflite-runtime", "tflite_runtime.interpreter"),
    ("tensorflow", "tensorflow.lite.python.interpreter"),
)
# Backend -> name of the op resolver. BUILTIN applies the XNNPACK delegate by default.
RESOLVERS = {"xnnpack": "BUILTIN", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"}
BACKENDS = tuple(RESOLVERS)
BUILD_DIGITS = 16
# The id of the bundle that the agent was started from: its C library is part of what is timed.
BUILD_VARIABLE = "DEVICE_AGENT_BUILD"
# Inputs are the same in every process, since the time of a few kernels depends on the data.
SEED = 20_180_910


class NoRuntimeError(Exception):
    """No TFLite runtime can be used in this environment; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready to run: tensors allocated, inputs filled.

    `nodes` counts the operators of the model, `delegated` those that a delegate took. The
    interpreter owns the model's bytes, which `invoke` reads.
    """

    interpreter: object
    invoke: Callable[[], object]
    nodes: int
    delegated: int


@dataclass(frozen=True, slots=True)
class Runtime:
    """An imported runtime.

    `build` is the head of the SHA-256 of its native library, in hex, or the id of its bundle.
    """

    name: str
    version: str
    build: str
    module: ModuleType

    def load(self, content: bytes, backend: str, threads: int) -> Loaded:
        """Make a model ready to run.

        Raises whatever the runtime raises for a model that it does not accept; a damaged model
        may end the process instead.
        """
        resolver = getattr(self.module.OpResolverType, RESOLVERS[backend])
        with warnings.catch_warnings():
            # tf.lite announces its own deprecation for each interpreter.
            warnings.simplefilter("ignore")
            interpreter = self.module.Interpreter(
                model_content=content,
                num_threads=threads,
                experimental_op_resolver_type=resolver,
            )
        interpreter.allocate_tensors()
        fill_inputs(interpreter)
        operators = interpreter._get_ops_details()
        delegates = [o for o in operators if o["op_name"] == "DELEGATE"]
        own = [o for o in operators if o["op_name"] != "DELEGATE"]
        # Behind the public invoke() stands a check of reference counts in Python, 0.3 us a run.
        native = getattr(interpreter, "_interpreter", None)
        invoke = getattr(native, "Invoke", interpreter.invoke)
        return Loaded(interpreter, invoke, len(own), count_delegated(own, delegates))


def find() -> Runtime:
    """Import the best runtime there is; raises NoRuntimeError."""
    tried = []
    for name, path in RUNTIMES:
        try:
            module = importlib.import_module(path)
        except ImportError as error:
            tried.append(f"{name}: {error}")
            continue
        version = installed_version(name, module)
        if name == "tflite-runtime" and int(np.__version__.split(".")[0]) >= 2:
            tried.append(f"{name}: {version} needs numpy below 2, found {np.__version__}")
            continue
        folder = Path(str(module.__file__)).parent
        build = os.environ.get(BUILD_VARIABLE) or build_id(native_library(folder))
        return Runtime(name, version, build, module)
    reasons = "; ".join(tried)
    raise NoRuntimeError(f"no TFLite runtime can be used ({reasons}): pip install ai-edge-litert")


def installed_version(name: str, module: ModuleType) -> str:
    """Version of a distribution; of its package where its metadata were left out."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        package = importlib.import_module(module.__name__.partition(".")[0])
        return str(getattr(package, "__version__", "unknown"))


def native_library(folder: Path, maps: Path = Path("/proc/self/maps")) -> Path:
    """The library with the kernels: the largest below `folder` that this process has mapped.

    The packages come with libraries that nothing loads, such as GPU accelerators; where the
    process cannot tell what it has mapped, the largest of all is taken.
    """
    libraries = [path for path in folder.rglob("*.so*") if path.is_file()]
    try:
        mapped = {line.split(maxsplit=5)[-1].strip() for line in maps.read_text().splitlines()}
    except OSError:
        mapped = set()
    candidates = [path for path in libraries if str(path.resolve()) in mapped] or libraries
    if not candidates:
        raise NoRuntimeError(f"no native library below {folder}: reinstall the runtime")
    return max(candidates, key=lambda path: (path.stat().st_size, path.name))


def build_id(library: Path) -> str:
    """First hex digits of the SHA-256 of a file."""
    with library.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:BUILD_DIGITS]


def fill_inputs(interpreter: Any) -> None:
    """Give every input reproducible data: noise, but zeros for indices, which must be in range."""
    generator = np.random.default_rng(SEED)
    for detail in interpreter.get_input_details():
        shape, dtype = tuple(detail["shape"]), np.dtype(detail["dtype"])
        if dtype.kind == "f":
            data = generator.standard_normal(shape, np.float32).astype(dtype)
        elif dtype.kind == "b":
            data = generator.integers(0, 2, shape).astype(dtype)
        elif dtype.kind in "iu" and dtype.itemsize <= 2:
            info = np.iinfo(dtype)
            data = generator.integers(info.min, info.max, shape, dtype, endpoint=True)
        elif dtype.kind in "iu":
            data = np.zeros(shape, dtype)
        else:
            # Strings and resources start out empty.
            continue
        interpreter.set_tensor(detail["index"], data)


def count_delegated(
    own: Sequence[Mapping[str, Any]], delegates: Sequence[Mapping[str, Any]]
) -> int:
    """How many of the model's operators the delegates took.

    A delegate replaces those that lie between its inputs and its outputs.
    """
    producers = {int(t): node for node in own for t in node["outputs"]}
    taken: set[int] = set()
    for delegate in delegates:
        given = {int(t) for t in delegate["inputs"]}
        open_tensors = [int(t) for t in delegate["outputs"]]
        while open_tensors:
            tensor = open_tensors.pop()
            node = producers.get(tensor)
            if tensor in given or node is None or int(node["index"]) in taken:
                continue
            taken.add(int(node["index"]))
            open_tensors.extend(int(t) for t in node["inputs"])
    return len(taken)
