"""The table file: every measurement ever accepted, what to answer, and what was not believed.

Measurements, batches and rejections are only ever added; `entry` is the current view, one row for
each platform and kernel, pointing at the newest accepted measurement.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

from sqlite_utils import Database

from lookup_tables import energy_rows, queries, rows, upkeep
from lookup_tables.connection import BUSY_TIMEOUT_S, Connection
from lookup_tables.energy import EnergyRun
from lookup_tables.kernel import Kernel, Platform
from lookup_tables.quality import (
    Accepted,
    Reason,
    Rejected,
    kernel_error,
    kernel_time,
)
from lookup_tables.records import (
    BatchRecord,
    ColdResult,
    Drift,
    EnergyResult,
    Entry,
    Fact,
    JsonObject,
    NetworkTime,
    NullEnergy,
    NullTime,
    Recorded,
    Rejection,
    TableCounts,
)

__all__ = ["STRIKES", "Store"]

# A kernel that brought the worker down this often is not asked for again: once may be the device's
# fault, twice an accident, and every further try costs a worker and the hang deadline.
STRIKES = 3

Clock = Callable[[], float]


class Store:
    """One table file, for any number of platforms; a context manager.

    `clock` gives seconds since 1970. Opening creates the file, or brings an older one up to date.
    Several processes may read and write one file; a Store belongs to the thread that opened it.
    Every method raises TableError where the file cannot be used.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        clock: Clock = time.time,
        busy_timeout_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        self.path = Path(path)
        self._clock = clock
        self.connection = Connection(self.path, busy_timeout_s=busy_timeout_s)

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        self.connection.close()

    def record_batch(self, platform: Platform, record: BatchRecord) -> Recorded:
        """Store one batch, all of it or nothing, and make its accepted kernels the entries.

        The null time or energy to subtract is the batch's own, or else the one of the platform's
        entries; where there is neither, the kernels are rejected with Reason.NO_NULL.
        """
        now = self._clock()
        with self.connection.write() as database:
            batch = rows.insert_batch(database, platform, record, now)
            if record.null_energy is not None:
                energy_rows.insert_null(database, batch, record.null_energy)
            null = _null_of(record) or queries.own_null_time(database, platform)
            accepted: dict[Kernel, Entry] = {}
            rejected: dict[Kernel, Rejected] = {}
            for result in record.kernels:
                verdict = result.verdict
                if isinstance(verdict, Accepted) and null is None:
                    verdict = Rejected(Reason.NO_NULL, "the null op of the batch was not accepted")
                if isinstance(verdict, Rejected):
                    rows.insert_rejection(database, batch, result, verdict)
                    rejected[result.kernel] = verdict
                elif null is not None:
                    entry = _entry(verdict, null, batch, now)
                    rows.insert_measurement(database, platform, result, verdict, null, entry)
                    accepted[result.kernel] = entry
            for cold in record.cold:
                cold_verdict = self._record_cold(database, platform, batch, cold)
                if isinstance(cold_verdict, Rejected):
                    rejected[cold.kernel] = cold_verdict
            for energy in record.energy:
                fault = _record_energy(database, platform, batch, energy, record.null_energy)
                if fault is not None:
                    rejected[energy.kernel] = fault
            amended = [cold.kernel for cold in record.cold]
            amended += [energy.kernel for energy in record.energy]
            changed = [kernel for kernel in amended if kernel not in rejected]
            accepted.update(_entries(database, platform, changed))
            for network in record.networks:
                rows.insert_network(database, batch, network)
        return Recorded(batch, accepted, rejected)

    def entries(
        self, platform: Platform, kernels: Iterable[Kernel] | None = None
    ) -> dict[Kernel, Entry]:
        """Entries of those of `kernels` that have one; of all kernels where it is None.

        A kernel without an accepted measurement has the newest of its imports, if any.
        """
        with self.connection.read() as database:
            if kernels is None:
                found = database.execute(queries.ENTRIES, {"platform": platform.key})
                return {Kernel.parse(row[0]): Entry(*row[2:]) for row in found}
            return _entries(database, platform, kernels)

    def metered(self, platform: Platform, meter: str) -> dict[Kernel, Entry]:
        """Entries of `platform`, imports included, with an energy that `meter` told."""
        with self.connection.read() as database:
            values = {"platform": platform.key, "meter": meter}
            found = database.execute(queries.METERED, values)
            return {Kernel.parse(row[0]): Entry(*row[2:]) for row in found}

    def _record_cold(
        self, database: Database, platform: Platform, batch: int, result: ColdResult
    ) -> Accepted | Rejected:
        verdict = result.verdict
        if isinstance(verdict, Accepted) and not queries.has_own_entry(
            database, platform, result.kernel
        ):
            verdict = Rejected(
                Reason.INVALID, "the table has no hot time of its own of this kernel"
            )
        if isinstance(verdict, Rejected):
            rows.insert_rejection(database, batch, result, verdict)
        else:
            rows.insert_cold(database, platform, batch, result, verdict)
        return verdict

    def record_fact(
        self, platform: Platform, name: str, value: float, evidence: JsonObject
    ) -> Fact:
        """Store what was learnt of `platform`, dated now; earlier values of `name` are kept."""
        fact = Fact(value, self._clock(), evidence)
        with self.connection.write() as database:
            rows.insert_fact(database, platform, name, fact)
        return fact

    def facts(self, platform: Platform) -> dict[str, Fact]:
        """What was learnt of `platform`, by name; the newest of each."""
        with self.connection.read() as database:
            return queries.facts(database, platform)

    def record_uses(self, platform: Platform, kernels: Iterable[Kernel]) -> None:
        """Count one more use, now, of each of `kernels` that the table knows.

        To be called once for many, such as all that a job asked for: it is what tells which entries
        are worth keeping fresh first, and no log.
        """
        with self.connection.write() as database:
            upkeep.add_uses(database, platform, kernels, self._clock())

    def uses(self, platform: Platform) -> dict[Kernel, int]:
        """How often each kernel was used on `platform`; those that never were are left out."""
        with self.connection.read() as database:
            return upkeep.uses(database, platform)

    def record_drift(self, platform: Platform, drift: Drift) -> None:
        """Keep that `platform` has drifted."""
        with self.connection.write() as database:
            upkeep.insert_drift(database, platform, drift)

    def drifts(self, platform: Platform) -> list[Drift]:
        """Every drift of `platform` that was noticed, oldest first."""
        with self.connection.read() as database:
            return upkeep.drifts(database, platform)

    def null_time(self, platform: Platform) -> NullTime | None:
        """Median of the null times subtracted from the platform's entries; None without entries.

        Imports count only where nothing was measured here.

        A sum of entries lacks the cost of one invoke: add this once for a network.
        """
        with self.connection.read() as database:
            return queries.null_time(database, platform)

    def null_energy(self, platform: Platform, meter: str) -> NullEnergy | None:
        """Median of the null op's energies subtracted from the platform's entries by `meter`.

        None where there are none. As with times, a network needs it once.
        """
        with self.connection.read() as database:
            return energy_rows.null_energy(database, platform, meter)

    def rejections(self, platform: Platform) -> list[Rejection]:
        """Every rejected result of `platform`, oldest first."""
        with self.connection.read() as database:
            found = database.execute(queries.REJECTIONS, (platform.key,))
            return [Rejection(Kernel.parse(row[0]), Reason(row[1]), *row[2:]) for row in found]

    def quarantined(self, platform: Platform) -> dict[Kernel, Rejected]:
        """Kernels not to be asked for again, each with its last reason.

        Those that crashed or hung the worker, or that the runtime refused, STRIKES times since
        they were last accepted.
        """
        with self.connection.read() as database:
            found = database.execute(queries.QUARANTINED, (platform.key, STRIKES))
            return {
                Kernel.parse(text): Rejected(Reason(reason), f"{strikes} times; last: {detail}")
                for text, reason, detail, strikes, _ in found
            }

    def never_cold(self, platform: Platform) -> set[Kernel]:
        """Kernels whose cold time was rejected STRIKES times and never accepted."""
        with self.connection.read() as database:
            found = database.execute(queries.NEVER_COLD, (platform.key, STRIKES))
            return {Kernel.parse(text) for (text,) in found}

    def platforms(self) -> list[Platform]:
        """Platforms that the file knows, in the order they came."""
        with self.connection.read() as database:
            found = database.execute("SELECT text FROM platform ORDER BY id")
            return [Platform.parse(text) for (text,) in found]

    def counts(self, platform: Platform) -> TableCounts:
        """How much there is about `platform`."""
        with self.connection.read() as database:
            return TableCounts(*database.execute(queries.COUNTS, {"key": platform.key}).fetchone())

    def revision(self, platform: Platform) -> tuple[int, int]:
        """Numbers of the last batch and fact of `platform`: equal where nothing was added since."""
        with self.connection.read() as database:
            row = database.execute(queries.REVISION, (platform.key,)).fetchone()
            return (0, 0) if row is None else (row[0], row[1])

    def networks(self, platform: Platform, sha256: str | None = None) -> list[NetworkTime]:
        """Whole networks measured on `platform`, oldest first; those of one file, or all."""
        with self.connection.read() as database:
            found = database.execute(queries.NETWORKS, {"key": platform.key, "sha256": sha256})
            return [NetworkTime(*row) for row in found]

    def digest(self, platform: Platform) -> str:
        """SHA-256 over entries and facts: equal where every price is equal, bit by bit."""
        digest = hashlib.sha256(platform.text.encode())
        with self.connection.read() as database:
            for name, fact in queries.facts(database, platform).items():
                digest.update(repr((name, fact.value)).encode())
            found = database.execute(queries.ENTRIES, {"platform": platform.key})
            for row in sorted((*row[1:5], *map(repr, (row[8], *row[11:14]))) for row in found):
                digest.update(repr(row).encode())
        return digest.hexdigest()


def _entries(
    database: Database, platform: Platform, kernels: Iterable[Kernel]
) -> dict[Kernel, Entry]:
    wanted = {kernel.key: kernel for kernel in kernels}
    values = {"platform": platform.key, "keys": json.dumps(list(wanted))}
    found = database.execute(queries.ENTRIES_OF_KEYS, values)
    return {wanted[row[1]]: Entry(*row[2:]) for row in found}


def _record_energy(
    database: Database,
    platform: Platform,
    batch: int,
    result: EnergyResult,
    null_run: EnergyRun | None,
) -> Rejected | None:
    """Store one energy; why it was rejected, where it was."""
    run = result.verdict
    if isinstance(run, EnergyRun):
        null = energy_rows.null_of(null_run, run.meter)
        null = null or energy_rows.null_energy(database, platform, run.meter)
        if not queries.has_own_entry(database, platform, result.kernel):
            run = Rejected(Reason.INVALID, "the table has no time of its own of this kernel")
        elif null is None:
            run = Rejected(Reason.NO_NULL, "the energy of the null op was not accepted")
        else:
            energy_rows.insert_energy(database, platform, batch, result.kernel, run, null)
            return None
    rows.insert_rejection(database, batch, result, run)
    return run


def _null_of(record: BatchRecord) -> NullTime | None:
    if record.null is None:
        return None
    verdict = record.null.verdict
    return NullTime(verdict.latency_us, verdict.relative_error)


def _entry(verdict: Accepted, null: NullTime, batch: int, now: float) -> Entry:
    return Entry(
        latency_us=kernel_time(verdict.latency_us, null.latency_us),
        relative_error=kernel_error(verdict, null.latency_us, null.relative_error),
        null_us=null.latency_us,
        batch=batch,
        measured_at=now,
    )
