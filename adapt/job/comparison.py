"""The end of a job: the original, the adapted network and the baselines, side by side."""

from __future__ import annotations

from collections.abc import Mapping

from adapt.cost.base import Cost
from adapt.job.files import write_file, write_model
from adapt.job.result import Measured, NetworkResult, OperatorResult
from adapt.job.sitting import Sitting
from adapt.job.track import Final
from adapt.methods.base import Phase, State, full_keep, priced
from adapt.training.evaluate import tflite_score
from adapt.training.finetune import Checkpoint
from adapt.training.scores import Score
from adapt.training.splits import Split

__all__ = ["compare"]

_ORIGINAL = "original"


def compare(sitting: Sitting, finals: Mapping[str, Final]) -> list[NetworkResult]:
    """The original and the finals, exported, timed in turns and scored on the test split.

    Writes <name>.tflite of each, and <name>.keras of all but the original, to the job's folder.
    """
    # The original is no more than a final that was never shrunk nor trained.
    start = State(
        phase=Phase.DONE, limits={}, original={}, keep=full_keep(sitting.network), history=[]
    )
    everyone = {_ORIGINAL: Final(start, Checkpoint(sitting.network.weights)), **finals}
    files = {name: _export(sitting, name, final) for name, final in everyone.items()}
    wholes = sitting.devices.whole(list(files.values()))
    costs = sitting.costs_now([final.state.widths for final in everyone.values()])
    sitting.listener.notify("scoring on the test split")
    return [
        _result(sitting, name, final, cost, files[name], measured)
        for (name, final), cost, measured in zip(everyone.items(), costs, wholes, strict=True)
    ]


def _export(sitting: Sitting, name: str, final: Final) -> bytes:
    """The network's .tflite, written to the folder; .keras too unless it is the original."""
    sitting.listener.notify(f"exporting {name}")
    model = sitting.network.model
    if name != _ORIGINAL:
        model = sitting.network.shrunk(final.state.keep, final.checkpoint.weights)
        write_model(sitting.folder.path / f"{name}.keras", model)
    content = sitting.network.to_tflite(model)
    write_file(sitting.folder.path / f"{name}.tflite", content)
    return content


def _result(
    sitting: Sitting,
    name: str,
    final: Final,
    cost: Cost,
    content: bytes,
    measured: dict[str, Measured],
) -> NetworkResult:
    network, data = sitting.network, sitting.data

    def real(split: Split) -> Score:
        return sitting.trainer.score(final.checkpoint.weights, split)

    def stored(split: Split) -> Score:
        return tflite_score(content, data, split, gives_logits=network.gives_logits)

    shipped = stored if network.is_quantized else real
    test = shipped(data.test)
    return NetworkResult(
        name=name,
        widths=final.state.widths,
        cost=priced(cost),
        measured=measured,
        holdout_accuracy=shipped(data.holdout).accuracy,
        test_accuracy=test.accuracy,
        test_loss=test.loss,
        float_holdout_accuracy=real(data.holdout).accuracy if network.is_quantized else None,
        float_test_accuracy=real(data.test).accuracy if network.is_quantized else None,
        steps_trained=final.state.steps_trained,
        operators=_operators(sitting, final.state.widths),
    )


def _operators(sitting: Sitting, widths: Mapping[str, int]) -> list[OperatorResult]:
    kernels = sitting.network.kernels(widths)
    latencies = sitting.devices.latencies_now(kernels)
    return [
        OperatorResult(op=kernel.op, shape=list(kernel.outputs[0].shape), latency_us=latency)
        for kernel, latency in zip(kernels, latencies, strict=True)
    ]
