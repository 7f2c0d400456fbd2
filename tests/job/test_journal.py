"""What a kill or a bad disk can leave of a journal, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from adapt.errors import InputError
from adapt.job.files import to_json
from adapt.job.journal import Journal, Step

Make = Callable[[int], Step]


def same(left: Step | None, right: Step) -> bool:
    """Equal to the last bit; NaN equals NaN."""
    if left is None or left.number != right.number or left.account != right.account:
        return False
    if to_json(left.state) != to_json(right.state) or left.checkpoint.step != right.checkpoint.step:
        return False
    for name in ("weights", "first", "second"):
        mine, other = getattr(left.checkpoint, name), getattr(right.checkpoint, name)
        if list(mine) != list(other) or not all(
            mine[p].dtype == other[p].dtype and np.array_equal(mine[p], other[p]) for p in mine
        ):
            return False
    return True


@pytest.fixture
def journal(tmp_path: Path, make_step: Make) -> Journal:
    """Steps 0 to 4 in the folder `journal`."""
    made = Journal(tmp_path / "journal")
    for number in range(5):
        made.append(make_step(number))
    return made


def test_no_step_yet(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    assert journal.last() is None
    assert journal.numbers() == []


def test_round_trip(tmp_path: Path, make_step: Make) -> None:
    """Step 3 has a loss that is not a number, as training that diverges has."""
    journal = Journal(tmp_path / "journal")
    for number in range(5):
        journal.append(make_step(number))
        assert same(journal.last(), make_step(number))


def test_states_stay_and_two_checkpoints(journal: Journal, tmp_path: Path) -> None:
    names = sorted(path.name for path in (tmp_path / "journal").iterdir())
    assert names == [*(f"{n:04d}.json" for n in range(4)), "0003.npz", "0004.json", "0004.npz"]


def test_a_crash_between_the_two_files_of_a_step(
    journal: Journal, tmp_path: Path, make_step: Make
) -> None:
    """Weights without a state do not count, and are overwritten when the step is done again."""
    (tmp_path / "journal" / "0004.json").unlink()
    (tmp_path / "journal" / "0004.npz").write_bytes(b"weights of another step 4")
    assert same(journal.last(), make_step(3))
    journal.append(make_step(4))
    assert same(journal.last(), make_step(4))


def test_leftovers_of_a_crash_are_ignored(
    journal: Journal, tmp_path: Path, make_step: Make
) -> None:
    for name in ("0005.npz.part", "0005.json.part", "notes.json"):
        (tmp_path / "journal" / name).write_bytes(b"half")
    (tmp_path / "journal" / "uniform").mkdir()
    assert same(journal.last(), make_step(4))


@pytest.mark.parametrize("suffix", [".json", ".npz"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_last_step(
    journal: Journal, tmp_path: Path, make_step: Make, suffix: str, share: float
) -> None:
    path = tmp_path / "journal" / f"0004{suffix}"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert same(journal.last(), make_step(3))
    journal.append(make_step(4))
    assert same(journal.last(), make_step(4))


@pytest.mark.parametrize(
    "content",
    [b"{}", b"[]", b"null", b'{"step": 1, "state": {}, "account": {}}', b"\xff\xfe", b"PK\x03\x04"],
)
@pytest.mark.parametrize("suffix", [".json", ".npz"])
def test_another_content_in_the_last_step(
    journal: Journal, tmp_path: Path, make_step: Make, suffix: str, content: bytes
) -> None:
    (tmp_path / "journal" / f"0004{suffix}").write_bytes(content)
    assert same(journal.last(), make_step(3))


def test_flipped_bits_of_weights_are_noticed(
    journal: Journal, tmp_path: Path, make_step: Make
) -> None:
    path = tmp_path / "journal" / "0004.npz"
    content = bytearray(path.read_bytes())
    place = content.index(make_step(4).checkpoint.weights["conv/kernel", 1].tobytes())
    content[place] ^= 1
    path.write_bytes(content)
    assert same(journal.last(), make_step(3))


def test_entries_of_a_later_version_do_not_count(
    journal: Journal, tmp_path: Path, make_step: Make
) -> None:
    path = tmp_path / "journal" / "0004.json"
    path.write_bytes(path.read_bytes().replace(b'"account"', b'"mood": "good", "account"', 1))
    assert same(journal.last(), make_step(3))


def test_nothing_left_to_read(journal: Journal, tmp_path: Path) -> None:
    for path in (tmp_path / "journal").glob("*.npz"):
        path.unlink()
    with pytest.raises(InputError, match="no step in") as caught:
        journal.last()
    assert "anew" in caught.value.todo


def test_a_full_disk_keeps_the_last_step(journal: Journal, tmp_path: Path, make_step: Make) -> None:
    for name in ("0005.npz.part", "0005.json.part"):
        (tmp_path / "journal" / name).symlink_to("/dev/full")
        with pytest.raises(OSError, match="No space left"):
            journal.append(make_step(5))
        assert not (tmp_path / "journal" / name).exists()
        assert same(journal.last(), make_step(4))
    journal.append(make_step(5))
    assert same(journal.last(), make_step(5))


def test_a_complete_journal_keeps_every_checkpoint(tmp_path: Path, make_step: Make) -> None:
    journal = Journal(tmp_path / "journal", complete=True)
    for number in range(5):
        journal.append(make_step(number))
    assert all(same(journal.read(number), make_step(number)) for number in range(5))


def test_a_step_that_cannot_be_read(journal: Journal) -> None:
    assert same(journal.read(4), journal.last() or journal.read(3))
    for number in (0, 7):  # Whose checkpoint is gone, and that never was.
        with pytest.raises(InputError, match=f"step {number} in .* cannot be read"):
            journal.read(number)
