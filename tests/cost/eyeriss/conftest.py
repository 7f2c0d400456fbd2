"""What is published, and layers made of few numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from adapt.cost.eyeriss import Layer

PUBLISHED = Path(__file__).parents[3] / "tools/bench/support/eyeriss_published.json"


@pytest.fixture(scope="session")
def published() -> dict[str, Any]:
    """Figures of the papers, each with its source."""
    with PUBLISHED.open() as file:
        found: dict[str, Any] = json.load(file)
    return found


@pytest.fixture
def make_layer() -> Any:
    """Makes square layers; `size` is that of the padded input, `out` only checked."""

    def make(
        size: int,
        kernel: int,
        channels: int,
        filters: int,
        stride: int = 1,
        out: int | None = None,
        **more: Any,
    ) -> Layer:
        across = (size - kernel) // stride + 1
        assert out in (None, across)
        sizes = (channels, filters, size, size, kernel, kernel, stride, stride, across, across)
        return Layer("layer", *sizes, **more)

    return make
