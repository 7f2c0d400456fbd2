"""Dense layers, embeddings and attention."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from adapt.network.graph import Call
from adapt.network.identities import Identities, Ids, Setting
from adapt.network.rules.registry import NotFollowed, layer_rule, use

__all__: list[str] = []

# With a single head, the converter turns the transpositions around it into reshapes, so that the
# operators would depend on the number of heads.
_LEAST_HEADS = 2


@layer_rule("Dense")
def _dense(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    layer = call.operation
    out = ids.fresh(layer.units)
    use(call, layer.kernel, 0, inputs[0], ids)
    use(call, layer.kernel, 1, out, ids, produces=True)
    use(call, layer.bias, 0, out, ids)
    ids.sizes[Setting(call.name, "units")] = out
    return [out]


@layer_rule("EinsumDense")
def _einsum_dense(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    layer = call.operation
    operands, result = layer.equation.replace(" ", "").split("->")
    before, weights = operands.split(",")
    is_dense = weights == before[-1] + result[-1] and before[:-1] == result[:-1]
    if not is_dense or layer.bias_axes not in (None, result[-1]):
        raise NotFollowed(f"multiplies by {layer.equation}")
    out = ids.fresh(layer.kernel.shape[1])
    use(call, layer.kernel, 0, inputs[0], ids)
    use(call, layer.kernel, 1, out, ids, produces=True)
    use(call, layer.bias, 0, out, ids)
    ids.sizes[Setting(call.name, "output_shape", -1)] = out
    return [out]


@layer_rule("Embedding")
def _embedding(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    layer = call.operation
    ids.freeze(inputs[0])
    out = ids.fresh(layer.output_dim)
    use(call, layer.embeddings, 1, out, ids, produces=True)
    ids.sizes[Setting(call.name, "output_dim")] = out
    return [out]


@layer_rule("MultiHeadAttention")
def _attention(call: Call, inputs: list[Ids], ids: Identities) -> list[Ids]:
    """A head is one filter. Its own dimensions stay: their number scales what softmax is given."""
    layer = call.operation
    if len(call.outputs) > 1:
        raise NotFollowed("returns its attention scores")
    of_tensor = {id(t): carried for t, carried in zip(call.inputs, inputs, strict=True)}
    given = inspect.signature(layer.call).bind(*call.args, **call.kwargs).arguments
    query, value = (of_tensor[id(given[name])] for name in ("query", "value"))
    key = value if given.get("key") is None else of_tensor[id(given["key"])]
    for name in given.keys() & {"attention_mask", "query_mask", "key_mask", "value_mask"}:
        if id(given[name]) in of_tensor:
            ids.freeze(of_tensor[id(given[name])])
    heads = ids.fresh(layer.num_heads)
    ids.keep_at_least(heads, min(_LEAST_HEADS, len(heads)))
    gate = [(layer._gate_dense, query)] if getattr(layer, "_use_gate", False) else []
    inward = [(layer.query_dense, query), (layer.key_dense, key), (layer.value_dense, value), *gate]
    for dense, carried in inward:
        _project(call, dense, carried, heads, ids)
        ids.inner.append(np.repeat(heads, dense.kernel.shape[2]))
    ids.sizes[Setting(call.name, "num_heads")] = heads
    return [_merge_heads(call, heads, query, ids)]


def _project(call: Call, dense: Any, carried: Ids, heads: Ids, ids: Identities) -> None:
    """Weights [channels, heads, dimensions of a head] and bias [heads, dimensions]."""
    use(call, dense.kernel, 0, carried, ids)
    use(call, dense.kernel, 1, heads, ids, produces=True)
    use(call, dense.bias, 0, heads, ids)


def _merge_heads(call: Call, heads: Ids, query: Ids, ids: Identities) -> Ids:
    """Weights [heads, dimensions of a head, channels] and bias [channels]."""
    dense = call.operation.output_dense
    if len(dense.kernel.shape) != 3:
        raise NotFollowed("its output has several axes of its own")
    out = ids.fresh(dense.kernel.shape[2])
    use(call, dense.kernel, 0, heads, ids)
    use(call, dense.kernel, 2, out, ids, produces=True)
    use(call, dense.bias, 0, out, ids)
    if call.operation._output_shape is None:
        ids.unite(query, out)  # The layer gives as many channels as its query has.
    else:
        ids.sizes[Setting(call.name, "output_shape", -1)] = out
    return out
