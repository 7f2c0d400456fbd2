"""The times that a job has guessed, as it finds them again."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapt.errors import InputError
from adapt.job.prices import PriceFile
from lookup_tables import Kernel, Tensor


def kernel(size: int) -> Kernel:
    return Kernel.make("RELU", [Tensor("float32", (1, size))], [Tensor("float32", (1, size))])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "prices.jsonl"


def test_what_was_kept_is_found_again_to_the_bit(path: Path) -> None:
    first = PriceFile(path)
    assert first.get("hot", kernel(1)) is None
    first.keep({("hot", kernel(1)): (0.1 + 0.2, 1 / 3), ("cold", kernel(1)): (7.0, 0.01)})
    first.keep({("hot", kernel(2)): (2.5, 0.02)})
    for file in (first, PriceFile(path)):
        assert file.get("hot", kernel(1)) == (0.1 + 0.2, 1 / 3)
        assert file.get("cold", kernel(1)) == (7.0, 0.01)
        assert file.get("hot", kernel(2)) == (2.5, 0.02)
        assert file.get("cold", kernel(2)) is None


def test_a_line_that_a_kill_cut_off_is_left_out(path: Path) -> None:
    PriceFile(path).keep({("hot", kernel(n)): (float(n), 0.1) for n in (1, 2)})
    whole = path.read_bytes()
    for end in range(whole.index(b"\n") + 1, len(whole)):
        path.write_bytes(whole[:end])
        again = PriceFile(path)
        assert again.get("hot", kernel(1)) == (1.0, 0.1)
        assert again.get("hot", kernel(2)) is None
        again.keep({("hot", kernel(3)): (3.0, 0.1)})
        assert PriceFile(path).get("hot", kernel(3)) == (3.0, 0.1)


@pytest.mark.parametrize("line", ["{}", "[1]", '["hot", "key", "x", 0]', "\xff", "null"])
def test_a_file_of_another_kind_is_refused(path: Path, line: str) -> None:
    path.write_text(f"{line}\n")
    with pytest.raises(InputError, match="line 1 is none of ours"):
        PriceFile(path)
