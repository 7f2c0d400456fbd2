"""Latencies of whole networks that a job asks for while it searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapt.job.yardstick import Yardstick
from adapt.network import shrink
from adapt.network.load import Network

__all__ = ["VersionFiles", "WholeNetworks"]


class VersionFiles:
    """The .tflite files of versions of `network`, each converted once.

    Their weights are the first filters of the unshrunk network, so that equal widths are equal
    files, known again in another sitting; the values of weights do not change latencies.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._files: dict[tuple[int, ...], bytes] = {}

    def __getitem__(self, widths: Mapping[str, int]) -> bytes:
        """The file of the network at `widths`; groups left out are whole."""
        network = self._network
        full = {**network.widths, **widths}
        key = tuple(full.values())
        if key not in self._files:
            keep = {name: range(width) for name, width in full.items()}
            weights = shrink.slice_weights(network.weights, network.groups, keep)
            model = network.model if full == network.widths else network.shrunk(keep, weights)
            self._files[key] = network.to_tflite(model)
        return self._files[key]

    def fit(self, room: int) -> bool:
        """Whether two of them go into `room` bytes, by the size of their weights."""
        return 2 * self._network.weight_bytes <= room


class WholeNetworks:
    """Whole networks of `files` as `yardstick` measures them.

    With `relative`, what counts is the share of the original's latency.
    """

    def __init__(self, yardstick: Yardstick, files: VersionFiles, relative: bool) -> None:
        self.relative = relative
        self._yardstick, self._files = yardstick, files

    def latency(self, widths: Mapping[str, int]) -> tuple[float, float] | None:
        """Of the network and of the original beside it, us; None where not measured."""
        return self._yardstick.known(self._files[widths], self._files[{}])

    @property
    def fit(self) -> bool:
        """Whether the device takes two of them at a time."""
        return self._files.fit(self._yardstick.room)

    def measure(self, versions: Sequence[Mapping[str, int]]) -> None:
        """Time the networks of these widths, as many at a time as fit, the original beside each."""
        original, room = self._files[{}], self._yardstick.room
        files = dict.fromkeys(self._files[widths] for widths in versions)
        batch = [original]
        for content in files:
            if content == original:
                continue
            if len(batch) > 1 and sum(map(len, batch)) + len(content) > room:
                self._yardstick.whole(batch)
                batch = [original]
            batch.append(content)
        self._yardstick.whole(batch)
