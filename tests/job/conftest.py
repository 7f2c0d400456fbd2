"""Small values of a job: a request, states, checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adapt.job import JobRequest
from adapt.job.account import Account
from adapt.job.journal import Step
from adapt.methods.base import Iteration, Phase, State
from adapt.training.finetune import Checkpoint


@pytest.fixture
def request_made() -> JobRequest:
    return JobRequest(
        model=Path("/models/net.keras"),
        model_sha256="ab" * 32,
        data="/data",
        budget=["latency=50%"],
        threads=2,
    )


@pytest.fixture
def make_step() -> Callable[[int], Step]:
    """Step `number`, different from all others."""

    def make(number: int) -> Step:
        chance = np.random.default_rng(number)
        places = [("conv/kernel", 0), ("conv/kernel", 1), ("bn/gamma", 0)]
        weights, first, second = (
            {place: chance.normal(size=(3, 2)).astype(np.float32) for place in places}
            for _ in range(3)
        )
        point = Iteration(
            number=number,
            group="conv",
            keep={"conv": [0, 2]},
            cost={"latency": {"measured": 0.1 + number}},
            accuracy=1 / 3,
            loss=float("nan") if number == 3 else 0.7,
        )
        state = State(
            phase=Phase.SEARCH,
            limits={"latency": 1.1},
            original={"latency": {"measured": 2.2}},
            keep={"conv": [0, 2]},
            history=[point],
            steps_trained=number,
        )
        account = Account(seconds={"search": number / 4}, kernels_measured=number)
        return Step(number, state, Checkpoint(weights, first, second, 7 * number), account)

    return make
