"""Latency from a lookup table: the sum of what the kernels took when measured one by one."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import fsum, inf

from adapt.cost.analytic import Analytic
from adapt.cost.answer import Answer
from adapt.cost.base import Amount, Cost, Missing, Origin
from adapt.cost.cold import (
    CACHE_FACT,
    L3_PS_FACT,
    MEMORY_FACTS,
    SHARES,
    SMALLEST_CACHE,
    SMALLEST_L3,
    Shares,
    beyond_share,
    cold_share,
    spills,
    turns_cold,
    uses_weights_once,
)
from adapt.cost.fusion import Trial, free_kernels, untold
from adapt.cost.interpolation import Guesses, Interpolation, Kept, Quantity
from adapt.cost.opening import open_table, table_errors
from adapt.cost.times import Times
from adapt.tflite.quantities import activation_bytes, tensor_bytes, weight_bytes
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.records import NullTime
from lookup_tables.store import Store

__all__ = ["Answer", "TableLatency", "open_table", "table_errors"]


@dataclass(frozen=True, slots=True)
class _Sizes:
    """Bytes of a kernel's weights, activations and results; whether it uses each weight once."""

    weights: int
    activations: int
    outputs: int
    once: bool


class TableLatency:
    """Latency on one platform, microseconds, from the entries of `store`.

    A network takes the sum of its kernels, each without the time that calling the runtime takes,
    and that time once. A kernel takes its hot time where the weights of the whole network stay in
    the cache, its cold time where they exceed it, something between for sizes between; and what
    fetching its weights takes where they exceed the last cache as well: see `adapt.cost.cold`.
    Kernels that the runtime leaves out beside their neighbours are free: see `adapt.cost.fusion`.
    With `cold` false all count as hot and none as free, which is for comparison.

    With `max_error`, kernels that the table lacks are interpolated from its entries, as long as the
    network's latency is then known within that share of it, nine times in ten.

    With `offline` no device is at hand: however little is known, it answers. What can be neither
    looked up nor interpolated is analytic, by the model calibrated to all entries, of which there
    must be one at least; without facts of the platform, kernels count as hot and none as free.

    Entries, facts and what prices were interpolated from are read once and kept: one object gives
    one price for a network for as long as it lives, whatever is measured meanwhile; and with `kept`
    so do all objects that share it.
    """

    resources: frozenset[str] = frozenset({"latency"})

    def __init__(
        self,
        store: Store,
        platform: Platform,
        *,
        cold: bool = True,
        shares: Shares = SHARES,
        max_error: float | None = None,
        kept: Kept | None = None,
        offline: bool = False,
    ) -> None:
        self.platform = platform
        self._store = store
        self._with_cold = cold
        self._shares = shares
        self._sizes: dict[Kernel, _Sizes] = {}
        self._max_error = inf if offline else max_error
        self._guesses = None if self._max_error is None else Guesses(store, platform, kept)
        self.analytic = Analytic(store, platform) if offline else None
        self._times = Times(store, platform, self._guesses, self.analytic)
        self._null: NullTime | None = None
        self._facts: dict[str, float] = {}

    def price(self, kernels: Sequence[Kernel]) -> Cost:
        """Latency of the network; raises Missing, or DeviceError for a quarantined kernel."""
        answers = self._priced(kernels)
        parts: dict[Origin, list[float]] = {Origin.MEASURED: [self.call.latency_us]}
        for answer in answers:
            parts.setdefault(answer.origin, []).append(answer.latency_us)
        amounts = {origin: fsum(parts[origin]) for origin in parts}
        return Cost({"latency": Amount(amounts, self._error_us(kernels, answers))})

    def price_each(self, kernels: Sequence[Kernel]) -> list[Cost]:
        """Latency that each adds to a network of `kernels`; raises as `price` does."""
        return [
            Cost({"latency": Amount({answer.origin: answer.latency_us}, error)})
            for kernel, answer in zip(kernels, self._priced(kernels), strict=True)
            for error in [self._error_us([kernel], [answer])]
        ]

    def answers(
        self, kernels: Sequence[Kernel], *, other_weights: int = 0
    ) -> tuple[Sequence[Answer | None], Missing]:
        """What is known of each kernel, None where nothing is, and what else should be measured.

        `other_weights` are bytes of weights that the network has beside those of `kernels`. Where
        a cold time or the size of the cache is missing, the hot time stands for it.
        """
        self._times.read_hot(kernels)
        hot = [self._times.hot.get(kernel) for kernel in kernels]
        missing = [k for k, answer in zip(kernels, hot, strict=True) if answer is None]
        if not self._with_cold:
            return hot, Missing(missing)
        sizes = [self._sizes_of(kernel) for kernel in kernels]
        weights = other_weights + sum(size.weights for size in sizes)
        near, lack = self._near(kernels, hot, weights)
        answers, unknown = self._spilled(near, sizes)
        footprint = weights + max((size.activations for size in sizes), default=0)
        answers, facts = self._far(kernels, answers, footprint)
        trial = self._fused(kernels, hot)
        answers = [
            replace(answer, latency_us=0.0, free=True)
            if answer and position in trial.free
            else answer
            for position, answer in enumerate(answers)
        ]
        facts = (*lack.facts, *unknown, *facts)
        return answers, Missing(missing, cold=lack.cold, facts=facts, pairs=trial.unknown)

    def _near(
        self, kernels: Sequence[Kernel], hot: Sequence[Answer | None], weights: int
    ) -> tuple[Sequence[Answer | None], Missing]:
        """The answers for a network of so many bytes of weights, as far as L2 matters."""
        if weights <= self._shares.cold_from * SMALLEST_CACHE:
            return hot, Missing()
        cache = self._fact(CACHE_FACT)
        if cache is None:
            return _as_hot(hot), Missing(facts=[CACHE_FACT])
        share = cold_share(weights, cache, self._shares)
        if share == 0:
            return hot, Missing()
        changing = {k for k in kernels if turns_cold(self._sizes_of(k).weights, cache)}
        self._times.read_cold([kernel for kernel in kernels if kernel in changing])
        known = self._times.cold
        cold = [kernel for kernel in kernels if kernel in changing and kernel not in known]
        answers = [
            self._between(kernel, answer, share) if answer and kernel in changing else answer
            for kernel, answer in zip(kernels, hot, strict=True)
        ]
        return answers, Missing(cold=cold)

    def _spilled(
        self, near: Sequence[Answer | None], sizes: Sequence[_Sizes]
    ) -> tuple[Sequence[Answer | None], Sequence[str]]:
        """The same with results that do not stay in L2, and the names of facts that lack."""
        largest = max((size.outputs for size in sizes), default=0)
        if largest <= self._shares.output_from * SMALLEST_CACHE:
            return near, ()
        cache, ps = self._fact(CACHE_FACT), self._fact(L3_PS_FACT)
        if cache is None or ps is None:
            return _as_hot(near), (CACHE_FACT, L3_PS_FACT)
        # A network that fits in L2 as a whole finds its results there as a loop does.
        if sum(size.outputs + size.weights for size in sizes) <= cache:
            return near, ()
        return [
            _longer(answer, size.outputs * ps)
            if answer and spills(size.outputs, cache, self._shares)
            else answer
            for answer, size in zip(near, sizes, strict=True)
        ], ()

    def _fused(self, kernels: Sequence[Kernel], hot: Sequence[Answer | None]) -> Trial:
        """Which kernels the runtime leaves out."""
        times = [answer.latency_us if answer else None for answer in hot]
        trial = free_kernels(kernels, times, self._facts)
        if trial.unknown:
            self._read_facts()
            trial = free_kernels(kernels, times, self._facts)
        return trial

    def _far(
        self, kernels: Sequence[Kernel], near: Sequence[Answer | None], footprint: int
    ) -> tuple[Sequence[Answer | None], Sequence[str]]:
        """The same as far as the last cache matters, and the names of facts that lack."""
        if footprint <= self._shares.l3_from * SMALLEST_L3:
            return near, ()
        cache, often, once = map(self._fact, MEMORY_FACTS)
        if cache is None or often is None or once is None:
            return _as_hot(near), MEMORY_FACTS
        share = beyond_share(footprint, cache, self._shares)
        if share == 0:
            return near, ()
        answers = []
        for kernel, answer in zip(kernels, near, strict=True):
            sizes = self._sizes_of(kernel)
            ps = share * sizes.weights * (once if sizes.once else often)
            answers.append(answer and _longer(answer, ps))
        return answers, ()

    @property
    def asked(self) -> Collection[Kernel]:
        """Measured kernels that this model was asked for, or that it interpolated from."""
        hot = self._times.hot
        guessed = [kernel for kernel, answer in hot.items() if answer.origin is Origin.INTERPOLATED]
        found = dict.fromkeys(kernel for kernel in hot if hot[kernel].origin is Origin.MEASURED)
        if guessed:
            found |= dict.fromkeys(self.interpolation.curves[Quantity.HOT].basis(guessed))
        return found.keys()

    @property
    def call(self) -> NullTime:
        """Time of a model that does nothing; 0 where nothing is known."""
        if self._null is None:
            with table_errors():
                null = self._store.null_time(self.platform)
            self._null = null or NullTime(0.0, 0.0)
        return self._null

    @property
    def interpolation(self) -> Interpolation:
        """The curves that the next guess is made from; only with `max_error`."""
        assert self._guesses is not None
        with table_errors():
            return self._guesses.interpolation

    def _priced(self, kernels: Sequence[Kernel]) -> list[Answer]:
        found, lack = self.answers(kernels)
        if self.analytic is not None:
            lack = Missing(lack.kernels)
        answers = [answer for answer in found if answer is not None]
        if not lack and not self._good_enough(kernels, answers):
            lack = Missing(networks=[kernels])
        if lack:
            self._times.refuse_poisonous(lack.kernels)
            self._times.withdraw()
            networks = [] if self._guesses is None else [kernels]
            raise Missing.together([lack, Missing(networks=networks)])
        if self._guesses is not None:
            self._guesses.accept()
        return answers

    def _good_enough(self, kernels: Sequence[Kernel], answers: Sequence[Answer]) -> bool:
        """Whether interpolation leaves the sum of `answers` to `kernels` as sure as asked for."""
        if self._guesses is None or self._max_error is None:
            return True
        total = self.call.latency_us + fsum(answer.latency_us for answer in answers)
        return self._guesses.new_error_us(kernels, answers) <= self._max_error * total

    def _error_us(self, kernels: Sequence[Kernel], answers: Sequence[Answer]) -> float:
        """What the sum of `answers` to `kernels` may be off by for want of measurements."""
        if self._guesses is None:
            return 0.0
        return self._guesses.error_us(zip(kernels, answers, strict=True))

    def _between(self, kernel: Kernel, hot: Answer, share: float) -> Answer:
        """The answer for a network that pays `share` of the difference between cold and hot."""
        cold = self._times.cold.get(kernel)
        if cold is None:
            return replace(hot, hot=True)
        # Noise apart, weights from further away never make a kernel faster.
        latency = hot.latency_us + share * max(0.0, cold.latency_us - hot.latency_us)
        error = (1 - share) * hot.relative_error + share * cold.relative_error
        # A hot time that does not count says nothing about where the answer comes from.
        origin = cold.origin if share == 1 else max(hot.origin, cold.origin, key=_ORIGINS.index)
        return replace(hot, latency_us=latency, relative_error=error, origin=origin)

    def _sizes_of(self, kernel: Kernel) -> _Sizes:
        sizes = self._sizes.get(kernel)
        if sizes is None:
            sizes = _Sizes(
                weight_bytes(kernel),
                activation_bytes(kernel),
                sum(map(tensor_bytes, kernel.outputs)),
                uses_weights_once(kernel),
            )
            self._sizes[kernel] = sizes
        return sizes

    def _fact(self, name: str) -> float | None:
        """What was learnt of the platform; None where it has not been."""
        if name not in self._facts:
            self._read_facts()
        return self._facts.get(name)

    def _read_facts(self) -> None:
        """Read what was learnt since; what is known already stays as it is."""
        with table_errors():
            found = self._store.facts(self.platform)
        # What pairs did not tell was not known: else it would be asked for without end.
        known = {each: value for each, value in self._facts.items() if not untold(each, value)}
        self._facts = {each: fact.value for each, fact in found.items()} | known


# From the strongest evidence to the weakest.
_ORIGINS = list(Origin)


def _as_hot(answers: Sequence[Answer | None]) -> list[Answer | None]:
    return [answer and replace(answer, hot=True) for answer in answers]


def _longer(answer: Answer, picoseconds: float) -> Answer:
    return replace(answer, latency_us=answer.latency_us + picoseconds * 1e-6)
