"""Several processes on one table, and processes that are killed while they write."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from lookup_tables import Store

WRITER = Path(__file__).with_name("writer_process.py")
ROOT = Path(__file__).parents[2]
WRITERS, BATCHES = 4, 12
FOREVER = 10**6
KILLS = int(os.environ.get("TABLE_KILLS", "5"))
DEADLINE_S = 60


def start(path: Path, writer: int, batches: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(WRITER), str(path), str(writer), str(batches)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_four_writers_lose_no_update(tmp_path: Path) -> None:
    path = tmp_path / "table.db"
    processes = [start(path, writer, BATCHES) for writer in range(WRITERS)]
    answers = [process.communicate(timeout=DEADLINE_S)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0] * WRITERS
    acknowledged = [int(batch) for batches in answers for batch in batches]
    assert sorted(acknowledged) == list(range(1, WRITERS * BATCHES + 1))
    with Store(path) as store:
        (platform,) = store.platforms()
        counts = store.counts(platform)
        assert counts.batches == counts.rejections == WRITERS * BATCHES
        assert counts.measurements == 2 * WRITERS * BATCHES
        entries = store.entries(platform)
        assert len(entries) == 1 + WRITERS * BATCHES
        (shared,) = [e for k, e in entries.items() if k.outputs[0].shape == (1,)]
        assert shared.batch == WRITERS * BATCHES
        (quarantine,) = store.quarantined(platform).values()
        assert quarantine.detail.startswith(f"{WRITERS * BATCHES} times")


@pytest.mark.parametrize("seed", range(KILLS))
def test_kill_9_loses_no_acknowledged_batch(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "table.db"
    chance = random.Random(seed)
    process = start(path, 0, FOREVER)
    assert process.stdout is not None
    try:
        acknowledged = [int(process.stdout.readline()) for _ in range(chance.randint(1, 40))]
    finally:
        process.kill()
    acknowledged += [int(line) for line in process.stdout.read().split("\n") if line]
    process.stdout.close()
    assert process.wait(DEADLINE_S) == -9
    with Store(path) as store:
        execute = store.connection.database.execute
        assert execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert execute("PRAGMA foreign_key_check").fetchall() == []
        (platform,) = store.platforms()
        batches = store.counts(platform).batches
        assert acknowledged == list(range(1, len(acknowledged) + 1))
        assert len(acknowledged) <= batches <= len(acknowledged) + 1
        assert store.counts(platform).measurements == 2 * batches
        assert store.counts(platform).rejections == batches
