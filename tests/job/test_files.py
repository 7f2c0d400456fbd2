"""Whole files or none, locks that a kill frees, and a model's file."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from adapt.errors import Busy, InputError
from adapt.job.files import DiskError, disk_errors, write_file
from adapt.locks import locked

HOLDER = """
import sys, time
from pathlib import Path
from adapt.locks import locked
with locked(Path(sys.argv[1]), "it"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first", b"", b"x" * 100_000):
        write_file(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"before")
    (tmp_path / "file.part").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device"):
        write_file(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_what_the_disk_refuses_is_said(tmp_path: Path) -> None:
    full = pytest.raises(DiskError, match=f"{tmp_path}: No space left on device")
    with full as caught, disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert isinstance(caught.value, InputError)
    with pytest.raises(DiskError, match=r"absent/file.part: No such file"), disk_errors(tmp_path):
        write_file(tmp_path / "absent" / "file", b"")


def test_a_lock_names_its_holder_and_is_free_after_kill_9(tmp_path: Path) -> None:
    path = tmp_path / "locks" / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(Busy, match=f"it is in use by process {holder.pid}"), locked(path, "it"):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with locked(path, "it"), pytest.raises(Busy), locked(path, "it"):
        pass
    with locked(path, "it"):
        assert path.read_text().isdigit()
