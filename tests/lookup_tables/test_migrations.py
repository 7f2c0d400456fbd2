"""Every released table file opens, says what it said, and ends with the current schema."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lookup_tables import (
    Accepted,
    BatchRecord,
    ColdResult,
    Drift,
    EnergyResult,
    EnergyRun,
    Kernel,
    Reason,
    Store,
    Tensor,
)
from lookup_tables.exchange import export_rows
from lookup_tables.migrations import APPLICATION_ID, VERSION
from lookup_tables.survey import Fate, history

DATA = Path(__file__).with_name("data")
STORED = sorted(DATA.glob("table_v*.db"))
MAX_STORED_BYTES = 64 * 1024


def relu(units: int) -> Kernel:
    return Kernel.make("RELU", [Tensor("float32", (units,))], [Tensor("float32", (units,))])


@pytest.fixture(params=STORED, ids=lambda path: path.stem)
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a stored file, which may be changed."""
    return Path(shutil.copy(request.param, tmp_path / "old.db"))


def schema(store: Store) -> list[tuple[str, str]]:
    statement = "SELECT name, sql FROM sqlite_schema ORDER BY name"
    return list(store.connection.database.execute(statement))


def test_there_is_one_stored_file_for_each_version() -> None:
    assert [path.name for path in STORED] == [f"table_v{v}.db" for v in range(1, VERSION + 1)]
    assert all(path.stat().st_size < MAX_STORED_BYTES for path in STORED)


def test_opens_and_ends_with_the_schema_of_a_new_file(old: Path, store: Store) -> None:
    with Store(old) as opened:
        assert schema(opened) == schema(store)
        execute = opened.connection.database.execute
        assert execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
        assert execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert execute("PRAGMA foreign_key_check").fetchall() == []
        assert execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_says_what_it_said(old: Path) -> None:
    with Store(old) as opened:
        (platform,) = opened.platforms()
        assert platform.device_model == "Pixel 6"
        entries = opened.entries(platform)
        assert {k: e.latency_us for k, e in entries.items()} == {
            relu(1): pytest.approx(9.51),
            relu(2): pytest.approx(20.0),
        }
        (rejection,) = opened.rejections(platform)
        assert (rejection.kernel, rejection.reason) == (relu(3), Reason.CRASHED)
        (network,) = opened.networks(platform)
        assert network.latency_us == 271.0


def test_imports_are_kept(old: Path, request: pytest.FixtureRequest) -> None:
    with Store(old) as opened:
        (platform,) = opened.platforms()
        seen = [o for o in history(opened, platform, relu(1)) if o.fate == Fate.IMPORTED]
        imports = [o for o in seen if not o.cold]
        assert len(imports) == opened.counts(platform).imported == ("v1" not in request.node.name)
        assert all(o.detail == "colleague" and not o.answers for o in imports)


def test_opening_twice_changes_nothing(old: Path) -> None:
    with Store(old) as opened:
        (platform,) = opened.platforms()
        digest = opened.digest(platform)
    with Store(old) as again:
        assert again.digest(platform) == digest


def test_an_old_table_takes_cold_times_and_facts(old: Path) -> None:
    with Store(old) as opened:
        (platform,) = opened.platforms()
        cold = ColdResult(relu(2), 9, (), Accepted(26.0, 0.01, 2))
        opened.record_batch(platform, BatchRecord(wall_ms=1.0, cold=(cold,)))
        opened.record_fact(platform, "l2_bytes", 1024.0, {})
    with Store(old) as again:
        assert again.entries(platform)[relu(2)].cold_us == 26.0
        assert again.facts(platform)["l2_bytes"].value == 1024.0


def test_version_3_says_what_it_said_beyond_version_2(tmp_path: Path) -> None:
    copy = Path(shutil.copy(DATA / "table_v3.db", tmp_path / "old.db"))
    with Store(copy) as opened:
        (platform,) = opened.platforms()
        entries = opened.entries(platform)
        assert {k: e.cold_us for k, e in entries.items()} == {relu(1): None, relu(2): 25.0}
        (fact,) = opened.facts(platform).values()
        assert (fact.value, fact.evidence) == (524_288.0, {"points": [[65_536, 7.5]]})


def test_an_old_table_takes_uses_and_drifts(old: Path) -> None:
    drift = Drift("ADD", "int8", 0.9, 5.0, {})
    with Store(old) as opened:
        (platform,) = opened.platforms()
        opened.record_uses(platform, [relu(2)])
        opened.record_drift(platform, drift)
    with Store(old) as again:
        assert again.uses(platform)[relu(2)] >= 1
        assert again.drifts(platform)[-1] == drift


def test_an_old_table_takes_energies(old: Path) -> None:
    run = EnergyRun("odpm", 2_000_000.0, 1_000.0, 1_000, 500.0, 500.0, 10.0)
    with Store(old) as opened:
        (platform,) = opened.platforms()
        energy = (EnergyResult(relu(2), run),)
        null = EnergyRun("odpm", 1_000_000.0, 1_000.0, 1_000, 500.0, 500.0, 10.0)
        opened.record_batch(platform, BatchRecord(1.0, energy=energy, null_energy=null))
    with Store(old) as again:
        assert again.entries(platform)[relu(2)].energy_uj == pytest.approx(1_500 - 500)


def test_version_4_says_what_it_said_beyond_version_3(tmp_path: Path) -> None:
    copy = Path(shutil.copy(DATA / "table_v4.db", tmp_path / "old.db"))
    with Store(copy) as opened:
        (platform,) = opened.platforms()
        assert opened.uses(platform) == {relu(1): 1, relu(2): 2}
        (drift,) = opened.drifts(platform)
        assert drift == Drift("RELU", "float32", 1.25, 1_690_000_000.0, {"noise": 0.05})


def test_version_5_says_what_it_said_beyond_version_4(tmp_path: Path) -> None:
    copy = Path(shutil.copy(DATA / "table_v5.db", tmp_path / "old.db"))
    with Store(copy) as opened:
        (platform,) = opened.platforms()
        entries = opened.entries(platform)
        assert {k: e.energy_uj for k, e in entries.items()} == {
            relu(1): None,
            relu(2): pytest.approx(20 - 4.95),
        }
        assert opened.null_energy(platform, "rapl") is not None


def test_version_6_says_what_it_said_beyond_version_5(tmp_path: Path) -> None:
    copy = Path(shutil.copy(DATA / "table_v6.db", tmp_path / "old.db"))
    with Store(copy) as opened:
        (platform,) = opened.platforms()
        imports = [row for row in export_rows(opened, platform) if row.source]
        assert [(row.cold_us, row.cold_error) for row in imports] == [(12.5, 0.02)]
