"""kill -9 at any moment, `adapt resume`: the same bytes as without the kill.

ADAPT_SEED repeats the moments of an earlier run; ADAPT_LONG=1 adds a kill after every journal entry
and many more random moments.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from conftest import Adapt, Finished, Running, Warm

SEED = int(os.environ.get("ADAPT_SEED", "0")) or int.from_bytes(os.urandom(4))
LONG = pytest.mark.skipif(not os.environ.get("ADAPT_LONG"), reason="ADAPT_LONG=1 runs it")
MORE_MOMENTS = 20
# A step of the search takes about a second here, a piece of the fine-tune as well.
MAX_DELAY_S = 1.0
# Runs until the table has all that the search asks for: kernels, then whole networks.
MAX_FILLING = 12


@dataclass(frozen=True)
class Moment:
    """So many seconds after journal entry `entry` stands, in a sitting that is under way."""

    entry: int
    delay_s: float


@dataclass(frozen=True)
class Uninterrupted:
    """A run from `table` to its end in `job`.

    Its search asked for nothing that the table lacks; the final networks and their kernels are
    always timed anew.
    """

    table: Path
    job: Path

    @property
    def states(self) -> list[dict[str, Any]]:
        return states(self.job)

    def phase(self, name: str) -> list[int]:
        """The journal entries after which the method is in phase `name`."""
        return [number for number, state in enumerate(self.states) if state["phase"] == name]


def entries(job: Path) -> list[dict[str, Any]]:
    """The journal."""
    files = sorted((job / "journal").glob("*.json"))
    return [json.loads(file.read_text()) for file in files]


def states(job: Path) -> list[dict[str, Any]]:
    """What the method remembered after each step."""
    return [entry["state"] for entry in entries(job)]


def result(job: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((job / "job.json").read_text())["result"]
    return values


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory,
    reference: tuple[Adapt, Path, Finished],
    warm: Warm,
) -> Uninterrupted:
    table = reference[0].table
    for _ in range(MAX_FILLING):
        adapt = type(reference[0])(tmp_path_factory.mktemp("uninterrupted"), warm)
        adapt.home.mkdir()
        shutil.copy(table, adapt.table)
        running = adapt.start("run", *adapt.DEMO, *adapt.REFERENCE)
        job = adapt.jobs / "digits-1"
        running.until(lambda job=job: entries(job) and states(job)[-1]["phase"] == "finish")
        account = entries(job)[-1]["account"]
        if account["kernels_measured"] == account["networks_measured"] == 0:
            finished = running.wait()
            assert finished.code == 0, finished.err
            return Uninterrupted(table, job)
        # Before the end, when the kernels of the compared networks are timed anew.
        running.kill()
        table = settled(adapt.table)
    raise AssertionError("the table never got complete")


def settled(table: Path) -> Path:
    """`table` with what a killed process wrote last in the file itself."""
    with closing(sqlite3.connect(table)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return table


def kill_at(running: Running, job: Path, moment: Moment) -> bool:
    """kill -9 `running` at `moment`; False where its result was there before."""
    entry = job / "journal" / f"{moment.entry:04d}.json"
    running.until(lambda: entry.exists() and f"job {job}" in running.err)
    time.sleep(moment.delay_s)
    if running.process.poll() is not None:
        return False
    running.kill()
    return result(job) is None


def kill_and_compare(adapt: Adapt, whole: Uninterrupted, moments: list[Moment]) -> None:
    """Run and resume, killed at each of `moments`; the end is that of `whole`."""
    shutil.copy(whole.table, adapt.table)
    job = adapt.jobs / "digits-1"
    command: list[str | Path] = ["run", *adapt.DEMO, *adapt.REFERENCE]
    killed: list[Moment] = []
    for moment in moments:
        if kill_at(adapt.start(*command), job, moment):
            killed.append(moment)
        command = ["resume", job]
    print(f"seed {SEED}; killed at {killed} of {moments}")
    assert killed
    finished = adapt.run(*command)
    assert finished.code == 0, finished.err
    assert digest(job / "adapted.tflite") == digest(whole.job / "adapted.tflite")
    assert states(job) == whole.states
    mine, other = result(job), result(whole.job)
    for name in ("history", "limits", "examples"):
        assert mine[name] == other[name], name
    assert mine["networks"][1]["widths"] == other["networks"][1]["widths"]
    assert mine["networks"][1]["test_loss"] == other["networks"][1]["test_loss"]
    assert [p.name for p in sorted((job / "family").iterdir())] == [
        p.name for p in sorted((whole.job / "family").iterdir())
    ]
    assert (job / "report.html").exists()
    assert not list(job.rglob("*.part"))


def test_five_random_moments(adapt: Adapt, uninterrupted: Uninterrupted) -> None:
    """At the start, twice in the search, in the fine-tune, and in the measuring at the end."""
    chance = random.Random(SEED)
    search, finish = uninterrupted.phase("search"), uninterrupted.phase("finish")
    entries = [0, chance.choice(search[:-1]), search[-1], chance.choice(finish[1:])]
    moments = [Moment(entry, chance.uniform(0, MAX_DELAY_S)) for entry in entries]
    moments.append(Moment(uninterrupted.phase("done")[0], chance.uniform(0, MAX_DELAY_S)))
    kill_and_compare(adapt, uninterrupted, moments)


@LONG
def test_every_journal_entry(adapt: Adapt, uninterrupted: Uninterrupted) -> None:
    moments = [Moment(number, 0.0) for number in range(len(uninterrupted.states))]
    kill_and_compare(adapt, uninterrupted, moments)


@LONG
@pytest.mark.parametrize("number", range(MORE_MOMENTS))
def test_more_moments(adapt: Adapt, uninterrupted: Uninterrupted, number: int) -> None:
    chance = random.Random(SEED + number)
    entry = chance.randrange(len(uninterrupted.states))
    moment = Moment(entry, chance.uniform(0, MAX_DELAY_S))
    kill_and_compare(adapt, uninterrupted, [moment])
