"""Learns which kernels are free beside others: see `adapt.cost.fusion`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from adapt.cost.fusion import PAIR_FACTS, Fusion, PairTimes, judge_pairs, telling_share
from adapt.cost.table import table_errors
from adapt.errors import InputError
from adapt.fleet.device import Batch, Device, MeasureOptions, ModelFile
from adapt.refresh.session import NULL_ID, OnProgress, Session
from adapt.tflite.pairs import Pair, write_pair
from adapt.tflite.writer import write_kernel
from lookup_tables.kernel import Kernel
from lookup_tables.quality import Accepted
from lookup_tables.records import Entry, Fact
from lookup_tables.store import Store

__all__ = ["PAIRS_OF_A_KIND", "learn_pairs"]

# Pairs that are timed of each kind: the third settles what two leave open.
PAIRS_OF_A_KIND = 3

# Kinds that are timed in one batch: three models for each pair.
_KINDS_TOGETHER = 16


def learn_pairs(
    store: Store,
    device: Device,
    pairs: Iterable[Pair],
    *,
    options: MeasureOptions | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Fact]:
    """Time some of `pairs` of each kind beside their parts, and store what it says of the kind.

    Those tell most whose cheaper part, as the table has it, takes the largest share. A kind that
    cannot be timed is taken to be additive, with the reason as its evidence. Raises DeviceError or
    Busy where the device fails, TableError where the table does.
    """
    session = Session.open(store, device, options or MeasureOptions())
    kinds = _by_kind(pairs)
    with table_errors():
        entries = store.entries(session.platform, {k for p in pairs_in(kinds) for k in _parts(p)})
    chosen = {kind: _most_telling(some, entries) for kind, some in kinds.items()}
    learnt: dict[str, Fact] = {}
    names = sorted(chosen)
    for at in range(0, len(names), _KINDS_TOGETHER):
        some = {kind: chosen[kind] for kind in names[at : at + _KINDS_TOGETHER]}
        doubtful = {k for k, ps in some.items() if max(_telling(p, entries) for p in ps) < 1}
        learnt |= _learn(session, some, doubtful)
        if on_progress is not None:
            on_progress(len(learnt), len(names))
    return learnt


def pairs_in(kinds: Mapping[str, Sequence[Pair]]) -> list[Pair]:
    """All pairs of all kinds."""
    return [pair for some in kinds.values() for pair in some]


def _by_kind(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    kinds: dict[str, list[Pair]] = {}
    for pair in dict.fromkeys(pairs):
        kinds.setdefault(pair.kind, []).append(pair)
    return kinds


def _parts(pair: Pair) -> tuple[Kernel, Kernel]:
    return pair.first, pair.second


def _most_telling(pairs: Sequence[Pair], entries: Mapping[Kernel, Entry]) -> list[Pair]:
    """The pairs to time; in their order where the table does not know their parts."""

    return sorted(pairs, key=lambda p: _telling(p, entries), reverse=True)[:PAIRS_OF_A_KIND]


def _telling(pair: Pair, entries: Mapping[Kernel, Entry]) -> float:
    """How much the pair says of its kind, as far as the table knows its parts."""
    times = [entries[part].latency_us for part in _parts(pair) if part in entries]
    return telling_share(*times) if len(times) == 2 else 0.0


def _learn(
    session: Session, kinds: Mapping[str, Sequence[Pair]], doubtful: Collection[str]
) -> dict[str, Fact]:
    """Time the pairs of `kinds`; what `doubtful` ones do not tell is left open for others."""
    files: dict[str, ModelFile] = {}
    faults: dict[str, str] = {}
    for kind, some in kinds.items():
        for pair in some:
            try:
                models = _models(pair)
            except InputError as error:
                faults[kind] = error.what
                continue
            files |= {model.id: model for model in models}
    places, room = session.room
    fitting: list[ModelFile] = []
    for file in files.values():
        if len(fitting) < places and len(file.content) <= room:
            room -= len(file.content)
            fitting.append(file)
    batch = session.measure(fitting)
    number = session.record(batch).batch
    facts = {}
    for kind, some in kinds.items():
        times = [each for pair in some if (each := _times(session, batch, pair)) is not None]
        evidence: dict[str, object] = {
            "batch": number,
            "first_second_both_us": [[t.first, t.second, t.both] for t in times],
        }
        if kind in faults:
            evidence["fault"] = faults[kind]
        open_still = kind in doubtful and not any(each.telling for each in times)
        verdict = Fusion.UNTOLD if open_still else judge_pairs(times)
        name = PAIR_FACTS + kind
        with table_errors():
            facts[name] = session.store.record_fact(
                session.platform, name, float(verdict), evidence
            )
    return facts


def _models(pair: Pair) -> list[ModelFile]:
    parts = [ModelFile(part.key, write_kernel(part)) for part in _parts(pair)]
    return [*parts, ModelFile(_id(pair), write_pair(pair))]


def _id(pair: Pair) -> str:
    return f"{pair.first.key}-{pair.second.key}"


def _times(session: Session, batch: Batch, pair: Pair) -> PairTimes | None:
    """The pair's times less the call; None where one of them was not accepted."""
    ids = (NULL_ID, pair.first.key, pair.second.key, _id(pair))
    verdicts = [session.verdict(batch.outcomes[i]) for i in ids if i in batch.outcomes]
    accepted = [each.latency_us for each in verdicts if isinstance(each, Accepted)]
    if len(accepted) < len(ids):
        return None
    call, first, second, both = accepted
    return PairTimes(first - call, second - call, both - call)
