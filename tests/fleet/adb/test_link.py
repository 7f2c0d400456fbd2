"""What every link over adb does, against Google's adbd: direct and through Google's server."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from adapt.fleet.adb import files
from adapt.fleet.link import Gone, Link, LinkError, Refused, TimedOut
from tests.fleet.adb import lab


def test_a_program_has_three_pipes_and_an_exit_status(link: Link) -> None:
    script = 'cat; echo "$1" >&2; exit 7'
    result = link.shell(["sh", "-c", script, "sh", "it's $HOME"], stdin=b"in\0put", timeout_s=10)
    assert (result.exit_code, result.stdout, result.stderr) == (7, b"in\0put", b"it's $HOME\n")


@pytest.mark.parametrize("code", [0, 1, 127, 255])
def test_exit_statuses(link: Link, code: int) -> None:
    assert link.shell(["sh", "-c", f"exit {code}"], timeout_s=10).exit_code == code


def test_a_program_that_is_killed(link: Link) -> None:
    assert link.shell(["sh", "-c", "kill -9 $$"], timeout_s=10).exit_code == 128 + 9


def test_much_goes_both_ways_at_once(link: Link) -> None:
    data = os.urandom(5 << 20)
    assert link.shell(["cat"], stdin=data, timeout_s=30).stdout == data


def test_a_program_that_does_not_read_its_input(link: Link) -> None:
    assert link.shell(["true"], stdin=bytes(5 << 20), timeout_s=10).exit_code == 0


def test_a_program_that_does_not_end(link: Link) -> None:
    with pytest.raises(TimedOut, match=r"sleep did not end within 0\.2 s"):
        link.shell(["sleep", "3"], timeout_s=0.2)
    assert link.shell(["echo"], timeout_s=10).stdout == b"\n"


def test_output_is_bounded(link: Link, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapt.fleet.adb.shell.MAX_OUTPUT_BYTES", 1 << 20)
    with pytest.raises(Refused, match="wrote more than"):
        link.shell(["cat", "/dev/zero"], timeout_s=10)


def test_many_programs_at_once(link: Link) -> None:
    found: dict[int, bytes] = {}

    def run(number: int) -> None:
        found[number] = link.shell(["echo", str(number)], timeout_s=10).stdout

    threads = [threading.Thread(target=run, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: f"{n}\n".encode() for n in range(20)}


@pytest.mark.parametrize("size", [0, 1 << 10, 1 << 20, 50 << 20])
def test_push_and_read(link: Link, tmp_path: Path, size: int) -> None:
    local, remote = tmp_path / "local", tmp_path / "a remote file"
    local.write_bytes(os.urandom(size))
    seen: list[tuple[int, int]] = []
    link.push(local, str(remote), mode=0o755, on_progress=lambda *done: seen.append(done))
    assert remote.read_bytes() == local.read_bytes()
    assert remote.stat().st_mode & 0o777 == 0o755
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)
    assert [p.name for p in tmp_path.iterdir() if ".part" in p.name] == []
    if size <= 1 << 20:
        assert link.read(str(remote), limit=size) == local.read_bytes()


def test_a_file_that_is_there_is_not_sent_again(link: Link, content: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    link.push(content, str(remote))
    before = remote.stat()
    seen: list[tuple[int, int]] = []
    link.push(content, str(remote), mode=0o700, on_progress=lambda *done: seen.append(done))
    assert (remote.stat().st_ino, remote.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert remote.stat().st_mode & 0o777 == 0o700
    assert len(seen) == 1


def test_a_push_goes_on_where_one_broke_off(link: Link, content: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote"

    def stop(done: int, size: int) -> None:
        if done >= size // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        link.push(content, str(remote), on_progress=stop)
    assert not remote.exists()
    lab.until(lambda: any(p.stat().st_size >= 500_000 for p in tmp_path.glob("*.part")))
    seen: list[int] = []
    link.push(content, str(remote), on_progress=lambda done, _: seen.append(done))
    assert remote.read_bytes() == content.read_bytes()
    assert len(seen) < content.stat().st_size // files.CHUNK_BYTES


def test_what_is_left_of_a_push_is_not_trusted(link: Link, content: Path, tmp_path: Path) -> None:
    remote = tmp_path / "remote"
    whole = content.read_bytes()
    part = tmp_path / f"remote.{hashlib.sha256(whole).hexdigest()[:16]}.part"
    for left in (b"damaged" + whole[:1000], whole + b"more"):
        part.write_bytes(left)
        link.push(content, str(remote))
        assert remote.read_bytes() == whole
        remote.unlink()
    assert not part.exists()


def test_a_copy_that_arrives_damaged(
    link: Link, content: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = tmp_path / "remote"
    remote.write_bytes(b"old")
    monkeypatch.setattr(files, "_APPEND", files._APPEND + '; echo >> "$1"')
    with pytest.raises(LinkError, match="arrived damaged"):
        link.push(content, str(remote))
    assert remote.read_bytes() == b"old"
    assert list(tmp_path.glob("*.part")) == []


def test_files_that_cannot_be(link: Link, content: Path, tmp_path: Path) -> None:
    with pytest.raises(Refused, match=r"cannot be written on .*(nonexistent|No such)"):
        link.push(content, str(tmp_path / "missing/file"))
    with pytest.raises(Refused, match=r"cannot be read on .*No such file"):
        link.read(str(tmp_path / "missing"), limit=10)
    with pytest.raises(Refused, match="larger than 10 bytes"):
        link.read(str(content), limit=10)


def test_a_service_that_nobody_offers(link: Link) -> None:
    with pytest.raises(Refused):
        link.open_stream("localabstract:nobody-is-here")


def test_streams_wait_end_and_are_closed(link: Link) -> None:
    stream = link.open_stream("shell,v2,raw:cat")
    with pytest.raises(TimedOut):
        stream.read(0.1)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(stream.read()))
    reader.start()
    time.sleep(0.05)
    stream.close()
    reader.join(5)
    assert read == [b""]
    stream.close()
    assert stream.read(1) == b""
    with pytest.raises(LinkError):
        stream.write(b"more")


def test_a_link_that_was_closed(open_any: Any) -> None:
    link = open_any()
    stream = link.open_stream("shell,v2,raw:cat")
    link.close()
    link.close()
    with pytest.raises(LinkError):
        stream.write(b"x" * 10)
    with pytest.raises(Gone):
        link.shell(["true"], timeout_s=5)


def test_properties(link: Link) -> None:
    assert link.properties() == {}


def test_nothing_is_left_behind(open_any: Any) -> None:
    def census() -> tuple[int, int]:
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    def cycle() -> None:
        with open_any() as link:
            assert link.shell(["echo"], timeout_s=10).exit_code == 0
            link.open_stream("shell,v2,raw:cat")

    cycle()
    before = census()
    for _ in range(200 if "ADAPT_LONG" in os.environ else 20):
        cycle()
    assert census() == before
