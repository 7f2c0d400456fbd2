"""Channel ids: made, declared equal, frozen, and noted on the axes of variables."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["Identities", "Ids", "Setting", "Use"]

Ids = npt.NDArray[np.int64]


class Setting(NamedTuple):
    """A number of channels among an operation's settings, e.g. ("conv2d", "filters").

    `position` is where it stands in a setting that is a list, such as the last of a target shape.
    The bounds of a slice, `start` and `stop`, count the channels before them.
    """

    operation: str
    key: str
    position: int | None = None

    @property
    def is_bound(self) -> bool:
        """Whether it is where a slice or a part of a split begins or ends."""
        return self.key in ("start", "stop", "indices_or_sections")


@dataclass(frozen=True)
class Use:
    """One axis of one variable, and the id that each position along it carries."""

    variable: tuple[str, int]
    axis: int
    ids: Ids
    produces: bool


@dataclass
class Identities:
    """Union-find over channel ids, and where they are used.

    `uses` are axes of variables, `sizes` the ids that settings count, `inner` the ids along axes
    of tensors that occur within an operation alone, `least` how many of some ids must stay.
    """

    uses: list[Use] = field(default_factory=list)
    sizes: dict[Setting, Ids] = field(default_factory=dict)
    inner: list[Ids] = field(default_factory=list)
    least: list[tuple[Ids, int]] = field(default_factory=list)
    _parent: list[int] = field(default_factory=list)
    _frozen: set[int] = field(default_factory=set)

    def fresh(self, count: int) -> Ids:
        """`count` new ids."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count, dtype=np.int64)

    def unite(self, left: Ids, right: Ids) -> None:
        """Declare ids equal, position by position; the arrays must have one length."""
        for a, b in zip(left.tolist(), right.tolist(), strict=True):
            root_a, root_b = self._root(a), self._root(b)
            if root_a != root_b:
                self._parent[max(root_a, root_b)] = min(root_a, root_b)

    def freeze(self, ids: Ids) -> None:
        """Declare that these channels must stay."""
        self._frozen.update(ids.tolist())

    def are_frozen(self, ids: Ids) -> bool:
        """Whether all of these channels must stay, as far as is known yet."""
        frozen = {self._root(number) for number in self._frozen}
        return all(self._root(number) in frozen for number in ids.tolist())

    def keep_at_least(self, ids: Ids, count: int) -> None:
        """Declare that `count` of these channels must stay, whichever."""
        self.least.append((ids, count))

    def use(
        self, variable: tuple[str, int], axis: int, ids: Ids, *, produces: bool = False
    ) -> None:
        """Note that `axis` of `variable` carries `ids`; a second call of a shared layer unites."""
        for known in self.uses:
            if known.variable == variable and known.axis == axis:
                self.unite(known.ids, ids)
                return
        self.uses.append(Use(variable, axis, ids, produces))

    def roots(self) -> Ids:
        """The representative of every id."""
        return np.array([self._root(i) for i in range(len(self._parent))], dtype=np.int64)

    def frozen(self) -> Ids:
        """All ids declared frozen, ascending."""
        return np.array(sorted(self._frozen), dtype=np.int64)

    def _root(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = self._parent[self._parent[number]]
            number = self._parent[number]
        return number
