"""Whole networks on this machine, known again by whoever asks after them."""

from __future__ import annotations

from pathlib import Path

from adapt.job.account import Ledger
from adapt.job.folder import JobFolder
from adapt.job.request import JobRequest
from adapt.job.wholes import WholeNetworks
from adapt.job.yardstick import OnEyeriss, open_yardstick
from adapt.network.load import Network

CLEARLY_LESS = 0.8


class Silent:
    """Nobody listens."""

    def began(self, folder: Path) -> None: ...

    def notify(self, line: str) -> None: ...

    def measuring(self, done: int, total: int) -> None: ...

    def advanced(self, track: str, state: object) -> None: ...


def test_measured_once_and_known_for_good(
    tmp_path: Path, digits_network: Network, request_made: JobRequest
) -> None:
    quarter = {name: max(2, width // 4) for name, width in digits_network.widths.items()}
    folder = JobFolder.create(tmp_path / "job", request_made)
    with open_yardstick(
        folder,
        home=tmp_path,
        tables=tmp_path / "tables.db",
        listener=Silent(),
        ledger=Ledger(),
    ) as yardstick:
        assert yardstick.measures
        wholes = WholeNetworks(yardstick, digits_network, relative=True)
        assert wholes.latency(quarter) is None
        wholes.measure([quarter])
        latency, original = wholes.latency(quarter) or (0.0, 0.0)
        assert 0 < latency < CLEARLY_LESS * original
        again = WholeNetworks(yardstick, digits_network, relative=True)
        assert again.latency(quarter) == (latency, original)
        assert again.latency({**quarter, next(iter(quarter)): 3}) is None
        whole, same = again.latency({}) or (0.0, 1.0)
        assert whole == same


def test_a_model_measures_nothing(digits_network: Network) -> None:
    yardstick = OnEyeriss()
    assert not yardstick.measures
    assert WholeNetworks(yardstick, digits_network, relative=True).latency({}) is None
