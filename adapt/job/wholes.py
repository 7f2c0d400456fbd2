"""Latencies of whole networks that a job asks for while it searches."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence

from adapt.job.yardstick import Yardstick
from adapt.network import shrink
from adapt.network.load import Network

__all__ = ["VersionFiles", "WholeNetworks"]

# Of .tflite files, the last used; converting one of so many bytes again takes a second or two.
_KEPT_BYTES = 64 << 20


class VersionFiles:
    """The .tflite files of versions of `network`, of which the last used are kept.

    Their weights are the first filters of the unshrunk network, so that equal widths are equal
    files, known again in another sitting; the values of weights do not change latencies.
    """

    def __init__(self, network: Network) -> None:
        self._network = network
        self._files: OrderedDict[tuple[int, ...], bytes] = OrderedDict()
        self._digests: dict[tuple[int, ...], str] = {}

    def digest(self, widths: Mapping[str, int]) -> str:
        """SHA-256 of the file, hexadecimal, which is converted once for all that asks for it."""
        key = self._key(widths)
        if key not in self._digests:
            self._digests[key] = hashlib.sha256(self[widths]).hexdigest()
        return self._digests[key]

    def __getitem__(self, widths: Mapping[str, int]) -> bytes:
        """The file of the network at `widths`; groups left out are whole."""
        key = self._key(widths)
        if key not in self._files:
            self._files[key] = self._converted({**self._network.widths, **widths})
        self._files.move_to_end(key)
        while len(self._files) > 2 and sum(map(len, self._files.values())) > _KEPT_BYTES:
            self._files.popitem(last=False)
        return self._files[key]

    def _key(self, widths: Mapping[str, int]) -> tuple[int, ...]:
        return tuple({**self._network.widths, **widths}.values())

    def _converted(self, widths: Mapping[str, int]) -> bytes:
        network = self._network
        keep = {name: range(width) for name, width in widths.items()}
        weights = shrink.slice_weights(network.weights, network.groups, keep)
        model = network.model if widths == network.widths else network.shrunk(keep, weights)
        return network.to_tflite(model)

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
        return self._yardstick.known(self._files.digest(widths), self._files.digest({}))

    @property
    def fit(self) -> bool:
        """Whether the device takes two of them at a time."""
        return self._files.fit(self._yardstick.room)

    def measure(self, versions: Sequence[Mapping[str, int]]) -> None:
        """Time the networks of these widths, the original beside each."""
        self._yardstick.whole([self._files[{}], *(self._files[widths] for widths in versions)])
