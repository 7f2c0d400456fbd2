"""Jobs as the report meets them: a usual one, and odd ones made from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from adapt.fleet.choice import DeviceChoice
from adapt.job import JobRequest, JobResult, Measured, NetworkResult
from adapt.methods.base import Iteration, Proposal

WIDTHS = {"conv2d": 32, "conv2d_1": 64, "block/dense": 128}


def cost_record(scale: float) -> dict[str, dict[str, float]]:
    """What a network `scale` times the size of the original needs."""
    return {
        "latency": {"measured": 20.0 * scale, "interpolated": 5.0 * scale},
        "macs": {"exact": 3e6 * scale},
        "params": {"exact": 120_000 * scale},
        "size": {"exact": 480_000 * scale},
        "memory": {"exact": 24_576.0},
    }


def network(name: str, scale: float, accuracy: float, **changes: Any) -> NetworkResult:
    """A network whose measured latency is 2 % above the predicted one."""
    values: dict[str, Any] = {
        "name": name,
        "widths": {group: max(1, round(width * scale)) for group, width in WIDTHS.items()},
        "cost": cost_record(scale),
        "measured": {
            "latency": Measured(
                sha256=name.encode().hex().ljust(64, "0"),
                latency_us=25.5 * scale,
                relative_error=0.01,
                runs=3,
            )
        },
        "holdout_accuracy": accuracy + 0.01,
        "test_accuracy": accuracy,
        "test_loss": 0.3,
        "steps_trained": 0 if name == "original" else 720,
    }
    return NetworkResult(**{**values, **changes})


def iteration(number: int, group: str, widths: Mapping[str, int], scale: float) -> Iteration:
    """A point of the family, chosen between two proposals where a group is named."""
    cost = {"latency": cost_record(scale)["latency"]}
    accuracy = 0.93 - 0.01 * number
    proposals = []
    if group:
        width = widths[group]
        proposals = [
            Proposal(
                widths={group: width},
                cost=cost,
                accuracy=accuracy,
                loss=0.2,
                steps=30,
                chosen=True,
            ),
            Proposal(widths={"other": 3}, cost=cost, accuracy=0.2, loss=2.5),
        ]
    return Iteration(
        number=number,
        group=group,
        keep={name: list(range(width)) for name, width in widths.items()},
        cost=cost,
        accuracy=accuracy,
        loss=0.2,
        proposals=proposals,
    )


def make_request(**changes: Any) -> JobRequest:
    """The request of the usual job, with some fields changed."""
    values: dict[str, Any] = {
        "model": Path("/models/resnet8.h5"),
        "model_sha256": "ab" * 32,
        "data": "/data/cifar10",
        "budget": ["latency=50%"],
        "compare": ["uniform"],
        "threads": 2,
        "devices": [DeviceChoice(text="pixel", name="pixel", label="pixel")],
    }
    return JobRequest(**{**values, **changes})


def make_result(**changes: Any) -> JobResult:
    """The result of the usual job: met, two iterations, a baseline."""
    narrower = {**WIDTHS, "conv2d_1": 40}
    values: dict[str, Any] = {
        "platforms": {
            "pixel": "Pixel 6 (Tensor), ai-edge-litert 2.3.0 [00ff], xnnpack, 1 thread(s)"
        },
        "limits": {"latency": 12.5},
        "networks": [
            network("original", 1.0, 0.90),
            network("adapted", 0.49, 0.89),
            network("uniform", 0.48, 0.86),
        ],
        "history": [
            iteration(0, "", WIDTHS, 1.0),
            iteration(1, "conv2d_1", narrower, 0.7),
            iteration(2, "block/dense", {**narrower, "block/dense": 48}, 0.49),
        ],
        "kept_whole": ["attention (MultiHeadAttention): its channels mix"],
        "kernels_measured": 345,
        "examples": {"train": 1200, "holdout": 100, "test": 400},
        "seconds": {"reading": 1.5, "measuring": 20.0, "search": 38.0, "uniform finish": 65.0},
    }
    return JobResult(**{**values, **changes})


@pytest.fixture
def request_of() -> Callable[..., JobRequest]:
    return make_request


@pytest.fixture
def result_of() -> Callable[..., JobResult]:
    return make_result


@pytest.fixture
def network_of() -> Callable[..., NetworkResult]:
    return network


@pytest.fixture
def iteration_of() -> Callable[..., Iteration]:
    return iteration
