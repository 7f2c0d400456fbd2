"""Times the sentinels of one platform, and again where the first time shows a drift."""

from __future__ import annotations

from collections.abc import Mapping

from adapt.cost.table import table_errors
from adapt.refresh.agenda import Contents, outdated
from adapt.refresh.drift import Pair, Round, Shift, confirmed, judge_round
from adapt.refresh.kernels import measure_kernels
from adapt.refresh.noise import learn_noise
from adapt.refresh.sentinels import Kind, choose_sentinels, kind_of
from adapt.refresh.session import Session
from lookup_tables.kernel import Kernel
from lookup_tables.records import Drift, Entry
from lookup_tables.survey import repeats

__all__ = ["Examination"]

# The latest history tells most of the noise; the sentinels of three years make so many.
_MAX_REPEATS = 20_000

# Fewer kernels than this cannot tell a device from a stray kernel, where the table has more.
_MIN_TIMED = 3

# What the second round times beside the sentinels, of each kind that the first one suspects.
_WITNESSES = 4


class Examination:
    """Whether the table of one platform still says what the device does.

    Sentinels are taken from those entries of `contents` that would be left alone otherwise, as of
    `now`, seconds since 1970, and `max_age_s`; only where there are none, from those that are
    stale. Entries that a known drift has outdated say nothing new. What is timed becomes an entry
    like any other.
    """

    def __init__(self, session: Session, contents: Contents, now: float, max_age_s: float) -> None:
        with table_errors():
            history = repeats(session.store, session.platform, _MAX_REPEATS)
        entries, known = contents.entries, contents.drifts
        usable = {k: entry for k, entry in entries.items() if k not in contents.quarantined}
        stale = {task.kernel for task in outdated(usable, known, now, max_age_s)}
        drifted = {task.kernel for task in outdated(usable, known, now, float("inf"))}
        self.since = now
        self.sentinels: list[Kernel] = []
        self.drifts: list[Drift] = []
        self._session = session
        self._noise = learn_noise(history, [drift.since for drift in known])
        self._pairs: list[list[Pair]] = []
        self._rounds: list[Round | None] = []
        self._candidates: Mapping[Kernel, Entry] = {}
        for excluded in (stale, drifted):
            if not self.sentinels:
                self._candidates = {k: e for k, e in usable.items() if k not in excluded}
                self.sentinels = choose_sentinels(self._candidates)

    def first_round(self) -> None:
        """Time the sentinels."""
        self._time(self.sentinels)

    def second_round(self) -> None:
        """Time them again, with others of the kinds that are suspected; record what both show."""
        chosen = list(self.sentinels)
        for kind in self._rounds[0].suspects if self._rounds[0] else ():
            others = {
                kernel: entry
                for kernel, entry in self._candidates.items()
                if kind_of(kernel) == kind and kernel not in chosen
            }
            chosen += choose_sentinels(others, _WITNESSES)
        self._time(chosen)
        self.drifts = [self._drift(kind, shift) for kind, shift in self._confirmed().items()]
        with table_errors():
            for drift in self.drifts:
                self._session.store.record_drift(self._session.platform, drift)

    @property
    def suspicious(self) -> bool:
        """Whether the first round shows a drift that no second one has confirmed or denied."""
        return len(self._rounds) == 1 and self.round is not None and not self.round.quiet

    @property
    def undecided(self) -> bool:
        """Whether there are sentinels, and it is not known what they say."""
        return bool(self.sentinels) and (self.round is None or self.suspicious)

    @property
    def round(self) -> Round | None:
        """What the sentinels said last; None where they were not, or too few of them, timed."""
        return self._rounds[-1] if self._rounds else None

    @property
    def passing(self) -> tuple[Kind | None, Shift] | None:
        """The clearest shift of the first round, where the second one confirms none.

        With the kind that showed it; None stands for all of them.
        """
        if len(self._rounds) < 2 or self._rounds[0] is None or self.drifts:
            return None
        scopes: list[tuple[Kind | None, Shift]] = [(None, self._rounds[0].whole)]
        scopes += self._rounds[0].kinds.items()
        return max(scopes, key=lambda scope: abs(scope[1].change) / scope[1].noise)

    @property
    def timed(self) -> set[Kernel]:
        """Every kernel that was timed."""
        return {pair.kernel for pairs in self._pairs for pair in pairs}

    def _time(self, chosen: list[Kernel]) -> None:
        session = self._session
        done = measure_kernels(session.store, session.device, chosen, options=session.options)
        pairs = [
            Pair(kernel, self._candidates[kernel], entry) for kernel, entry in done.measured.items()
        ]
        enough = len(pairs) >= min(_MIN_TIMED, len(chosen))
        self._pairs.append(pairs)
        self._rounds.append(judge_round(pairs, self._noise) if enough else None)

    def _confirmed(self) -> dict[Kind | None, Shift]:
        first, second = self._rounds
        return confirmed(first, second) if first and second else {}

    def _drift(self, kind: Kind | None, shift: Shift) -> Drift:
        """With the times of both rounds, microseconds, and the noise they were held against."""
        rounds = [
            [
                [pair.kernel.key, pair.before.latency_us, pair.now.latency_us]
                for pair in pairs
                if kind is None or kind_of(pair.kernel) == kind
            ]
            for pairs in self._pairs
        ]
        return Drift(
            op=kind.op if kind else "",
            dtype=kind.dtype if kind else "",
            ratio=shift.ratio,
            since=self.since,
            evidence={"noise": shift.noise, "rounds": rounds},
        )
