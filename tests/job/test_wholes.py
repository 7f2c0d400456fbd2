"""Whole networks on this machine, known again by whoever asks after them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from adapt.fleet.local import LocalDevice
from adapt.job.account import Ledger
from adapt.job.devices import open_devices
from adapt.job.folder import JobFolder
from adapt.job.request import JobRequest
from adapt.job.wholes import VersionFiles, WholeNetworks
from adapt.job.yardstick import OnEyeriss
from adapt.network.load import Network
from adapt.refresh import measure_networks
from lookup_tables import Store

CLEARLY_LESS = 0.8
ATTEMPTS = 4


class Silent:
    """Nobody listens."""

    def began(self, folder: Path) -> None: ...

    def notify(self, line: str) -> None: ...

    def say(self, line: str) -> None: ...

    def measuring(self, done: int, total: int, device: str) -> None: ...

    def advanced(self, track: str, state: object) -> None: ...


def test_measured_once_and_known_for_good(
    tmp_path: Path, digits_network: Network, request_made: JobRequest
) -> None:
    quarter = {name: max(2, width // 4) for name, width in digits_network.widths.items()}
    folder = JobFolder.create(tmp_path / "job", request_made)
    files = VersionFiles(digits_network)
    # As of a job that was killed amid measuring.
    with LocalDevice() as device, Store(tmp_path / "tables.db") as store:
        measure_networks(store, device, [files[{}], files[quarter]], repeats=1)
    with open_devices(
        folder,
        home=tmp_path,
        tables=tmp_path / "tables.db",
        listener=Silent(),
        ledger=Ledger(),
    ) as devices:
        yardstick = devices.yardsticks["local"]
        wholes = WholeNetworks(yardstick, files, relative=True)
        assert wholes.fit
        assert wholes.latency(quarter) is None
        # Where other work disturbs most batches of a turn, the next one adds to them.
        for _ in range(ATTEMPTS):
            wholes.measure([quarter])
            if wholes.latency(quarter):
                break
        latency, original = wholes.latency(quarter) or (0.0, 0.0)
        assert 0 < latency < CLEARLY_LESS * original
        again = WholeNetworks(yardstick, VersionFiles(digits_network), relative=True)
        assert again.latency(quarter) == (latency, original)
        assert again.latency({**quarter, next(iter(quarter)): 3}) is None
        whole, same = again.latency({}) or (0.0, 1.0)
        assert whole == same


def test_a_model_measures_nothing(digits_network: Network) -> None:
    yardstick = OnEyeriss()
    wholes = WholeNetworks(yardstick, VersionFiles(digits_network), relative=True)
    assert not wholes.fit
    assert wholes.latency({}) is None


def test_few_files_are_kept(digits_network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    group, width = next(iter(digits_network.widths.items()))
    files = VersionFiles(digits_network)
    monkeypatch.setattr("adapt.job.wholes._KEPT_BYTES", 3 * len(files[{}]))
    versions = [{group: width - number} for number in range(5)]
    digests = [files.digest(widths) for widths in versions]
    assert len(files._files) == 3
    assert len(set(digests)) == 5
    for widths, digest in zip(versions, digests, strict=True):
        assert hashlib.sha256(files[widths]).hexdigest() == digest == files.digest(widths)


def test_a_device_without_room_for_two(digits_network: Network) -> None:
    yardstick = OnEyeriss()
    yardstick.room = 2 * digits_network.weight_bytes
    assert WholeNetworks(yardstick, VersionFiles(digits_network), relative=True).fit
    yardstick.room -= 1
    assert not WholeNetworks(yardstick, VersionFiles(digits_network), relative=True).fit
