"""Latencies of whole networks that a job asks for while it searches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adapt.job.yardstick import Yardstick
from adapt.network import shrink
from adapt.network.load import Network

__all__ = ["WholeNetworks"]


class WholeNetworks:
    """Whole versions of `network` as `yardstick` measures them.

    Their weights are the first filters of the unshrunk network, so that equal widths are equal
    files, known again in another sitting; the values of weights do not change latencies. With
    `relative`, what counts is the share of the original's latency.
    """

    def __init__(self, yardstick: Yardstick, network: Network, relative: bool) -> None:
        self.relative = relative
        self._yardstick, self._network = yardstick, network
        self._files: dict[tuple[int, ...], bytes] = {}

    def latency(self, widths: Mapping[str, int]) -> tuple[float, float] | None:
        """Of the network and of the original beside it, us; None where not measured."""
        return self._yardstick.known(self._file(widths), self._file({}))

    @property
    def fit(self) -> bool:
        """Whether the device takes two of them at a time, by the size of their weights."""
        return 2 * self._network.weight_bytes <= self._yardstick.room

    def measure(self, versions: Sequence[Mapping[str, int]]) -> None:
        """Time the networks of these widths, as many at a time as fit, the original beside each."""
        original, room = self._file({}), self._yardstick.room
        others = [each for each in dict.fromkeys(map(self._file, versions)) if each != original]
        batch = [original]
        for content in others:
            if len(batch) > 1 and sum(map(len, batch)) + len(content) > room:
                self._yardstick.whole(batch)
                batch = [original]
            batch.append(content)
        self._yardstick.whole(batch)

    def _file(self, widths: Mapping[str, int]) -> bytes:
        """The .tflite of the network at `widths`; groups left out are whole."""
        network = self._network
        full = {**network.widths, **widths}
        key = tuple(full.values())
        if key not in self._files:
            keep = {name: range(width) for name, width in full.items()}
            weights = shrink.slice_weights(network.weights, network.groups, keep)
            model = network.model if full == network.widths else network.shrunk(keep, weights)
            self._files[key] = network.to_tflite(model)
        return self._files[key]
