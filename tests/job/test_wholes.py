"""Whole networks on this machine, known again by whoever asks after them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adapt.job.account import Ledger
from adapt.job.devices import open_devices
from adapt.job.folder import JobFolder
from adapt.job.request import JobRequest
from adapt.job.result import Measured
from adapt.job.wholes import VersionFiles, WholeNetworks
from adapt.job.yardstick import OnEyeriss
from adapt.network.load import Network

CLEARLY_LESS = 0.8


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
    with open_devices(
        folder,
        home=tmp_path,
        tables=tmp_path / "tables.db",
        listener=Silent(),
        ledger=Ledger(),
    ) as devices:
        yardstick = devices.yardsticks["local"]
        wholes = WholeNetworks(yardstick, VersionFiles(digits_network), relative=True)
        assert wholes.fit
        assert wholes.latency(quarter) is None
        wholes.measure([quarter])
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


class Crowded(OnEyeriss):
    """Takes `room` bytes at a time, and notes what it was given."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.batches: list[list[int]] = []

    def whole(self, contents: Sequence[bytes]) -> list[Measured | None]:
        self.batches.append([len(content) for content in contents])
        return super().whole(contents)


def test_files_go_as_many_at_a_time_as_fit(digits_network: Network) -> None:
    group, width = next(iter(digits_network.widths.items()))
    versions = [{group: width - number} for number in (1, 2, 3)]
    files = VersionFiles(digits_network)
    alone = Crowded(1 << 30)
    WholeNetworks(alone, files, relative=True).measure(versions)
    ((original, *others),) = alone.batches
    crowded = Crowded(original + others[0] + others[1])
    WholeNetworks(crowded, files, relative=True).measure(versions)
    assert crowded.batches == [[original, *others[:2]], [original, others[2]]]
    assert not WholeNetworks(Crowded(original), files, relative=True).fit
