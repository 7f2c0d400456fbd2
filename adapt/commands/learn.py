"""`adapt tables learn`: what prices need to know of a platform, before anything asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from adapt.commands.device import bench, device_options
from adapt.commands.terminal import columns, json_text

if TYPE_CHECKING:
    from lookup_tables.delegation import Delegation
    from lookup_tables.records import Fact
    from lookup_tables.staircase import Staircase

__all__ = ["facts_text", "learn"]

# Below this, noise makes the difference between counts on one step.
_EVEN = 1.05


@click.command()
@click.option(
    "--model",
    "models",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A .tflite file whose kernels, pairs and steps to learn as well; may be repeated.",
)
@device_options
def learn(models: tuple[Path, ...], as_json: bool, **chosen: Any) -> None:
    """Learn a device anew: the call of its runtime, caches, memory, what it fuses, its steps."""
    from adapt.prediction import read_file
    from adapt.refresh.learn import learn_platform
    from lookup_tables.delegation import delegations

    graphs = [read_file(model)[1] for model in models]
    networks = [[node.kernel for node in graph.operators if node.supported] for graph in graphs]
    with bench(chosen) as (store, device, options):
        facts = learn_platform(store, device, options=options, networks=networks, on_stage=_say)
        platform = device.platform(options.backend, options.threads, options.core_mask)
        delegated = delegations(store, platform)
    if as_json:
        shown = {
            "platform": asdict(platform),
            "facts": {name: asdict(fact) for name, fact in facts.items()},
            "operators": [asdict(each) for each in delegated],
        }
        click.echo(json_text(shown))
    else:
        click.echo(f"{platform}\n\n{facts_text(facts)}\n\n{_delegation_text(delegated)}")


def _say(stage: str) -> None:
    click.echo(f"learning: {stage}", err=True)


def facts_text(facts: Mapping[str, Fact]) -> str:
    """What was learnt, a line a fact; pairs of which none is free are only counted."""
    from adapt.cost.fusion import PAIR_FACTS, Fusion
    from lookup_tables.tiles import staircases, tile_fact

    words = {Fusion.FIRST_FREE: "the first is free", Fusion.SECOND_FREE: "the second is free"}
    steps = {tile_fact(axis): each for axis, each in staircases(facts).items()}
    rows = []
    additive = 0
    for name, fact in facts.items():
        if name in steps:
            rows.append((name, _steps_text(steps[name])))
        elif not name.startswith(PAIR_FACTS):
            rows.append((name, f"{fact.value:,.3f}"))
        elif fact.value in words:
            rows.append((name, words[Fusion(int(fact.value))]))
        else:
            additive += 1
    rows.append(("kinds of pairs that take as long as their parts", str(additive)))
    return columns(rows, left=(0,))


def _steps_text(steps: Staircase) -> str:
    """The tile, and what channel counts that are no multiple of it take, where that is more."""
    dearest = max(steps.profile)
    beside = f", off it up to x{dearest:.2f} of the next multiple" if dearest > _EVEN else ""
    return f"{steps.tile}{beside}"


def _delegation_text(delegated: Sequence[Delegation]) -> str:
    head = ("operator", "type", "kernels", "delegated")
    rows = [(each.op, each.dtype, str(each.kernels), str(each.delegated)) for each in delegated]
    return columns([head, *rows], left=(0, 1))
