"""Models within models, put in place of their calls.

Channel groups, kernels and training then see one plain graph, whatever the file is made of.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras.src.models.functional import Functional

from adapt.network import graph

__all__ = ["core", "flat"]


def core(model: Any) -> keras.Model | None:
    """The functional model that says all of what `model` computes; None where there is none.

    A Sequential has one once it knows its input; a subclass of Model has where it is made of
    inputs and outputs and has no `call` of its own.
    """
    if isinstance(model, keras.Sequential):
        model = getattr(model, "_functional", None)
    if isinstance(model, Functional) and type(model).call is Functional.call:
        return model
    return None


def flat(model: keras.Model) -> keras.Model:
    """A functional model like `model` with the layers of nested models among its own.

    Its inputs and outputs are lists or, where there is one, a tensor. The layers are those of
    `model` itself unless there are nested ones: then they are copies, the inner ones named after
    their model and themselves.
    """
    if all(core(call.operation) is None for call in graph.calls(model)):
        return _model(model.inputs, model.outputs, model.name)
    copying = _Copying()
    inputs = keras.tree.flatten(graph.new_inputs(model))
    outputs = copying.run(model, inputs, prefix="", training=None)
    copying.copy_weights()
    return _model(inputs, outputs, model.name)


def _model(inputs: Sequence[Any], outputs: Sequence[Any], name: str) -> keras.Model:
    return keras.Model(
        inputs[0] if len(inputs) == 1 else list(inputs),
        outputs[0] if len(outputs) == 1 else list(outputs),
        name=name,
    )


class _Copying:
    """Operations copied so far; a second call of one, or of its model, is one of the same copy."""

    def __init__(self) -> None:
        self._copies: dict[int, tuple[Any, Any]] = {}
        self._names: set[str] = set()

    def run(
        self, model: keras.Model, inputs: Sequence[Any], prefix: str, training: bool | None
    ) -> list[Any]:
        """Outputs of `model` for `inputs`, by copies of its operations.

        `training` is what the call of a nested model says, as `base(x, training=False)` does.
        """
        tensors = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
        for call in graph.calls(model):
            if isinstance(call.operation, keras.layers.InputLayer):
                continue
            args, kwargs = keras.tree.map_structure(
                lambda a: tensors[id(a)] if isinstance(a, keras.KerasTensor) else a,
                (call.args, dict(call.kwargs)),
            )
            inner = core(call.operation)
            if inner is None:
                if training is not None and getattr(
                    call.operation, "_call_has_training_arg", False
                ):
                    kwargs.setdefault("training", training)
                made = self._copy(call.operation, prefix)(*args, **kwargs)
                outputs = keras.tree.flatten(made)
            else:
                said = kwargs.get("training")
                outputs = self.run(
                    inner,
                    [tensors[id(t)] for t in call.inputs],
                    f"{prefix}{call.name}_",
                    training if said is None else said,
                )
            tensors.update({id(t): new for t, new in zip(call.outputs, outputs, strict=True)})
        return [tensors[id(t)] for t in model.outputs]

    def copy_weights(self) -> None:
        """Give every copy the weights of its original."""
        for operation, copy in self._copies.values():
            for old, new in zip(graph.variables(operation), graph.variables(copy), strict=True):
                new.assign(old)

    def _copy(self, operation: Any, prefix: str) -> Any:
        if id(operation) not in self._copies:
            self._copies[id(operation)] = operation, self._copied(operation, prefix)
        return self._copies[id(operation)][1]

    def _copied(self, operation: Any, prefix: str) -> Any:
        name, number = prefix + operation.name, 1
        while name in self._names:
            number += 1
            name = f"{prefix}{operation.name}_{number}"
        self._names.add(name)

        def rename(config: dict[str, Any]) -> dict[str, Any]:
            return {**config, "name": name} if "name" in config else config

        return graph.copied(operation, rename)
