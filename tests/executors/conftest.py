"""The bundled network and its data as a worker finds them."""
# ruff: noqa: E402  (TensorFlow is imported without its greetings first)

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from adapt.telemetry import import_tensorflow

import_tensorflow()

from adapt.demo import MODEL
from adapt.executors.base import Examples, Task
from adapt.executors.worker import Recipe
from adapt.network import shrink
from adapt.network.load import Network, file_digest
from adapt.training.data import Data
from adapt.training.finetune import Checkpoint, Schedule
from adapt.training.stored import store

BATCH = 32


@pytest.fixture(scope="session")
def recipe(digits_data: Data, tmp_path_factory: pytest.TempPathFactory) -> Recipe:
    """What a worker needs to do as `digits_trainer` does."""
    folder = tmp_path_factory.mktemp("data")
    store(digits_data, folder)
    return Recipe(
        model=Path(MODEL),
        model_sha256=file_digest(MODEL),
        data=folder,
        batch=BATCH,
        teacher=None,
        optimiser="adam",
        augmentation="none",
        mixed=False,
        threads=1,
    )


@pytest.fixture(scope="session")
def tasks(digits_network: Network) -> list[Task]:
    """Candidates of several widths: screened, tuned, tuned and scored with new statistics.

    Some are looked at early.
    """

    def generated() -> Iterator[Task]:
        kinds = [(None, Examples.SCREENING, True), (3, Examples.DECIDING, True)]
        kinds.append((2, Examples.HOLDOUT, False))
        for number in range(6):
            steps, examples, renew = kinds[number % len(kinds)]
            keep = {
                group.name: range(max(group.least, group.width * (number + 1) // 8))
                for group in digits_network.groups.groups
            }
            weights = shrink.slice_weights(digits_network.weights, digits_network.groups, keep)
            schedule = None if steps is None else Schedule(0.001, steps, cosine=False)
            early = 0 if steps is None else number // 3
            yield Task(Checkpoint(weights), schedule, 17 + number, examples, renew, early)

    return list(generated())
