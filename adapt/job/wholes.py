"""Latencies of whole networks that a job asks for while it searches."""

from __future__ import annotations

import hashlib
import statistics
from collections.abc import Mapping, Sequence

from adapt.cost.table import table_errors
from adapt.fleet.device import Device, MeasureOptions
from adapt.network import shrink
from adapt.network.load import Network
from adapt.refresh import measure_networks
from adapt.refresh.session import OnProgress
from lookup_tables.kernel import Platform
from lookup_tables.store import Store

__all__ = ["WholeNetworks"]

# Runs, each in a process of its own: the median of so many repeats within a percent.
_REPEATS = 5


class WholeNetworks:
    """Whole versions of `network` on one platform, as the table knows them from its batches.

    Their weights are the first filters of the unshrunk network, so that equal widths are equal
    files and the table knows them again; the values of weights do not change latencies. With
    `relative`, what counts is the share of the original's latency.
    """

    def __init__(
        self, store: Store, platform: Platform, network: Network, *, relative: bool
    ) -> None:
        self.relative = relative
        self._store, self._platform, self._network = store, platform, network
        self._files: dict[tuple[int, ...], bytes] = {}

    def latency(self, widths: Mapping[str, int]) -> tuple[float, float] | None:
        """Medians of the network's and the original's latency, us, over the batches of both."""
        with table_errors():
            runs, originals = (
                {run.batch: run.latency_us for run in self._store.networks(self._platform, sha)}
                for sha in map(_sha256, (self._file(widths), self._file({})))
            )
        both = runs.keys() & originals.keys()
        if not both:
            return None
        # In one batch they were timed in turns, so that what slowed one down slowed the other.
        original = statistics.median(originals[batch] for batch in both)
        share = statistics.median(runs[batch] / originals[batch] for batch in both)
        return share * original, original

    def measure(
        self,
        device: Device,
        versions: Sequence[Mapping[str, int]],
        options: MeasureOptions,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Time the networks of these widths, and the original beside them; errors as those of
        `measure_networks`."""
        contents = [self._file({}), *map(self._file, versions)]
        measure_networks(
            self._store,
            device,
            list(dict.fromkeys(contents)),
            options=options,
            repeats=_REPEATS,
            on_progress=on_progress,
        )

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


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
