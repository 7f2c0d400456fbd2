"""Several cost models as one: for each resource, the first model that offers it answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from adapt.budget import base, device_of
from adapt.cost.base import Amount, Cost, CostModel, Missing
from adapt.errors import UsageError
from lookup_tables.kernel import Kernel

__all__ = ["Chain"]

_Answer = tuple[frozenset[str], list[Cost]]


class Chain:
    """Prices `resources` with the first of `models` that offers each.

    Only the models that are needed are asked, so a network can be priced in MACs with an empty
    table. Raises UsageError at once, before any work, for a resource that no model offers.
    """

    def __init__(self, models: Iterable[CostModel], resources: Iterable[str]) -> None:
        models = tuple(models)
        self.resources = frozenset(resources)
        for resource in sorted(self.resources):
            if not any(resource in model.resources for model in models):
                offered = frozenset[str]().union(*(model.resources for model in models))
                raise _no_source(resource, offered)
        self._parts: list[tuple[CostModel, frozenset[str]]] = []
        open_resources = self.resources
        for model in models:
            answers = open_resources & model.resources
            if answers:
                self._parts.append((model, answers))
                open_resources -= answers

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        """What the network needs; raises Missing with what any of the models lacks."""
        return _merged(self._ask(lambda model: [model.price(kernels)]), 1)[0]

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        """What each kernel adds; raises as `price` does."""
        return _merged(self._ask(lambda model: model.price_each(kernels)), len(kernels))

    def _ask(self, question: Callable[[CostModel], list[Cost]]) -> list[_Answer]:
        """Every needed model's answer with the resources to take from it, or Missing for all."""
        answers: list[_Answer] = []
        lacks: list[Missing] = []
        for model, resources in self._parts:
            try:
                answers.append((resources, question(model)))
            except Missing as lack:
                lacks.append(lack)
        if lacks:
            raise Missing.together(lacks)
        return answers


def _merged(answers: Iterable[_Answer], count: int) -> list[Cost]:
    """`count` costs, each with the resources that each answer contributes to it."""
    amounts: list[dict[str, Amount]] = [{} for _ in range(count)]
    for resources, costs in answers:
        for mine, theirs in zip(amounts, costs, strict=True):
            mine.update((resource, theirs[resource]) for resource in resources)
    return [Cost(each) for each in amounts]


def _no_source(resource: str, offered: frozenset[str]) -> UsageError:
    known = ", ".join(sorted(offered)) or "nothing"
    return UsageError(
        f"no {base(resource)} source for {device_of(resource) or 'this platform'}",
        f"Nothing here can measure or model {resource}; budgets can limit: {known}."
        + (" --energy eyeriss models it." if base(resource) == "energy" else ""),
    )
