"""The command in the report is one that the command line takes, and asks for the same job."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapt.budget import RESOURCES, Budget
from adapt.cli import run
from adapt.fleet.choice import DeviceChoice, parse_choices
from adapt.job import JobRequest
from adapt.methods.base import Settings
from adapt.report.command import budget_for, command

Make = Callable[..., JobRequest]


def parsed(text: str) -> dict[str, object]:
    """The options of `adapt run` that `text` gives, by name; defaults are left out."""
    words = shlex.split(text)
    assert words[:2] == ["adapt", "run"]
    context = run.make_context("run", words[2:])
    return {
        name: value
        for name, value in context.params.items()
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    }


def test_a_plain_job_takes_few_options(request_of: Make) -> None:
    request = request_of(compare=[], devices=[DeviceChoice()])
    assert parsed(command(request)) == {
        "model": Path("/models/resnet8.h5"),
        "data": "/data/cifar10",
        "budgets": ("latency=50%",),
        "threads": 2,
    }


def test_every_option_comes_back(request_of: Make) -> None:
    settings = Settings(
        batch=7,
        trial_steps=5,
        proposals=6,
        short_steps=1,
        short_rate=0.5,
        long_steps=2,
        long_rate=0.25,
        first_step=0.1,
        decay=1,
        finalists=4,
        settling_steps=3,
        compensate=False,
        importance="fpgm",
        distillation=0.5,
        temperature=2,
        optimiser="momentum",
        augmentation="flip",
    )
    asked = {
        "agent_python": Path("/opt/agent/bin/python"),
        "backend": "builtin",
        "binary": Path("/opt/benchmark_model"),
        "binary_flags": ("use_gpu=true",),
        "threads": 4,
        "cores": "little",
        "core_mask": 0xF0,
    }
    request = request_of(
        model=Path("/my models/a;b $(c).keras"),
        budget=["latency=1.5ms", "macs=6M"],
        target_accuracy=0.9,
        minimise="macs",
        holdout=0.2,
        pixel_range=(-1.0, 1.0),
        resize=True,
        exact=True,
        executor="processes",
        workers=3,
        data_memory=2.5,
        mixed_precision=True,
        quantize="int8",
        energy="eyeriss",
        devices=parse_choices(["local"], asked),
        seed=5,
        tables=Path("/var/tables.db"),
        settings=settings,
    )
    given = parsed(command(request))
    assert given.pop("model") == request.model
    assert given.pop("budgets") == tuple(request.budget)
    assert given.pop("compare") == tuple(request.compare)
    assert given.pop("core_mask") == str(asked.pop("core_mask"))
    assert given.pop("device_threads") == asked.pop("threads")
    for name, value in asked.items():
        assert given.pop(name) == value, name
    for name, value in given.items():
        assert value == getattr(settings if hasattr(settings, name) else request, name), name
    unnamed = {"model", "model_sha256", "budget", "compare", "settings", "directory"}
    # Left at their defaults above.
    unnamed |= {"method", "devices"}
    assert given.keys() == (JobRequest.model_fields.keys() - unnamed) | Settings.model_fields.keys()


def test_devices_come_back_as_they_were_asked_for(request_of: Make) -> None:
    texts = ["local,threads=2,label=two", "local", "pi,cores=all,threads=3"]
    common = {"threads": 4, "backend": "builtin"}
    request = request_of(devices=parse_choices(texts, common), budget=["latency@two=1ms"])
    given = parsed(command(request))
    assert given["devices"] == tuple(texts)
    assert given["device_threads"] == 4
    assert given["backend"] == "builtin"
    assert "cores" not in given


def test_another_budget_replaces_the_first(request_of: Make) -> None:
    assert parsed(command(request_of(), ["macs=3M"]))["budgets"] == ("macs=3M",)


@given(
    resource=st.sampled_from(list(RESOURCES)),
    value=st.floats(min_value=0.01, max_value=1e12),
)
def test_a_budget_for_a_value_allows_just_that(resource: str, value: float) -> None:
    (limit,) = Budget.parse([budget_for(resource, value)]).limits
    assert limit.value >= value * (1 - 1e-9)
    assert limit.value == pytest.approx(value, rel=0.011, abs=0.01)
