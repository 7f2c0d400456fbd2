"""An agent that this host started itself, and can say more of when it fails."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence

from adapt.errors import DeviceError
from adapt.fleet.client import AgentClient
from adapt.fleet.closing import Closing
from adapt.fleet.device import Batch, Description, MeasureOptions, ModelFile, Progress
from lookup_tables.kernel import Platform

__all__ = ["LOG_LINES", "START_SECONDS", "TOKEN_BYTES", "StartedAgent", "how_it_ended"]

# tf.lite, the slowest of the runtimes, takes 12 s to load.
START_SECONDS = 60.0
TOKEN_BYTES = 32
# Last words of an agent that are shown.
LOG_LINES = 5


class StartedAgent(Closing):
    """A Device whose agent lives as long as this object; a context manager."""

    def __init__(self) -> None:
        self._client: AgentClient | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """What the user calls the device."""

    @abstractmethod
    def _post_mortem(self, error: DeviceError) -> DeviceError:
        """`error`, with how the agent ended where it did."""

    def describe(self) -> Description:
        """Who the device is and what state it is in, asked now."""
        with self._watched() as agent:
            return agent.describe()

    def platform(self, backend: str, threads: int, core_mask: int = 0) -> Platform:
        """The platform that measurements with these options belong to."""
        with self._watched() as agent:
            return agent.platform(backend, threads, core_mask)

    def measure(
        self,
        models: Sequence[ModelFile],
        options: MeasureOptions,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Batch:
        """Time `models`; where the agent dies over it, the error says how."""
        with self._watched() as agent:
            return agent.measure(models, options, on_progress)

    @contextlib.contextmanager
    def _watched(self) -> Iterator[AgentClient]:
        """The agent; an error inside says how it ended, where it did."""
        if self._client is None:
            raise DeviceError(f"the agent on {self.name} has been closed", "open the device again")
        try:
            yield self._client
        except DeviceError as error:
            raise self._post_mortem(error) from None


def how_it_ended(agent: str, code: int, log: str, todo: str) -> DeviceError:
    """The error for an agent that ended by itself; `code` is negative for a signal."""
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit status {code}"
    lines = log.splitlines()[-LOG_LINES:]
    last = "; its last words:\n    " + "\n    ".join(lines) if lines else ""
    return DeviceError(f"{agent} {how}{last}", todo)
