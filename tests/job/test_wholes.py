"""Whole networks on this machine, known again by whoever asks after them."""

from __future__ import annotations

from pathlib import Path

from adapt.fleet.device import MeasureOptions
from adapt.fleet.local import LocalDevice
from adapt.job.wholes import WholeNetworks
from adapt.network.load import Network
from lookup_tables import Store

# What is tested is the path, on a machine that may be busy.
OPTIONS = MeasureOptions(target_relative_error=0.3, max_windows=6, window_us=1000)
CLEARLY_LESS = 0.8


def test_measured_once_and_known_for_good(tmp_path: Path, digits_network: Network) -> None:
    quarter = {name: max(2, width // 4) for name, width in digits_network.widths.items()}
    with Store(tmp_path / "table.db") as store, LocalDevice() as device:
        platform = device.platform(OPTIONS.backend, OPTIONS.threads, OPTIONS.core_mask)
        wholes = WholeNetworks(store, platform, digits_network, relative=True)
        assert wholes.latency(quarter) is None
        wholes.measure(device, [quarter], OPTIONS)
        latency, original = wholes.latency(quarter) or (0.0, 0.0)
        assert 0 < latency < CLEARLY_LESS * original
        again = WholeNetworks(store, platform, digits_network, relative=True)
        assert again.latency(quarter) == (latency, original)
        assert again.latency({**quarter, next(iter(quarter)): 3}) is None
        whole, same = again.latency({}) or (0.0, 1.0)
        assert whole == same
