"""A device behind a link: an agent started on it, and gRPC through the link."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence

from adapt.errors import DeviceError
from adapt.fleet.client import AgentClient
from adapt.fleet.forward import Forward
from adapt.fleet.link import Gone, Link, LinkError
from adapt.fleet.program import Program
from adapt.fleet.started import START_SECONDS, TOKEN_BYTES, StartedAgent, how_it_ended

__all__ = ["RemoteDevice"]

# The agent is told that this host lives, and how long silence may last before it ends.
HEARTBEAT_SECONDS = 3.0
SILENCE_SECONDS = 12.0
# How long a broken call waits to see whether the agent is gone.
POST_MORTEM_SECONDS = 1.0
# Above it an exit status is 128 and the signal, as a shell says it.
SIGNALLED = 128


class RemoteDevice(StartedAgent):
    """An agent on the device of `link`, which this owns from now on: also where it raises.

    `command` starts an agent there, up to its options. It listens on an abstract socket of a name
    that nobody can guess, gets its token over stdin, and ends when the link does.
    """

    def __init__(self, name: str, link: Link, command: Sequence[str]) -> None:
        super().__init__()
        self._name = name
        self._link = link
        self._program: Program | None = None
        self._forward: Forward | None = None
        socket = f"adapt-{secrets.token_hex(8)}"
        token = secrets.token_hex(TOKEN_BYTES)
        options = (
            *("--listen", f"unix-abstract:{socket}", "--token-stdin"),
            *("--silence-seconds", f"{SILENCE_SECONDS:g}"),
        )
        try:
            self._program = Program(link, [*command, *options], HEARTBEAT_SECONDS)
            self._await_start(self._program, token)
            self._forward = Forward(link, f"localabstract:{socket}")
            self._client = AgentClient(name, self._forward.target, token)
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """What the user calls the device."""
        return self._name

    def close(self) -> None:
        """End the agent and let go of the device; may be called twice."""
        if self._client is not None:
            self._client.close()
            self._client = None
        if self._forward is not None:
            self._forward.close()
        if self._program is not None:
            self._program.close()
        self._link.close()

    def _await_start(self, program: Program, token: str) -> None:
        """Give the agent its token, and wait until it serves."""
        try:
            program.write(token.encode() + b"\n")
            json.loads(program.line(START_SECONDS))["address"]
        except LinkError as error:
            raise self._post_mortem(error) from error
        except (LookupError, TypeError, ValueError) as error:
            said = DeviceError(f"the agent on {self._name} said nonsense", "look at its version")
            raise self._post_mortem(said) from error

    def _post_mortem(self, error: DeviceError) -> DeviceError:
        """`error`, with how the agent ended where it did and the link says so."""
        if self._program is None:
            return error
        code = self._program.ended(POST_MORTEM_SECONDS)
        if code is None:
            return error
        if isinstance(error, Gone) and code == 0:
            # It ended in order because it lost this host: the link broke for a moment.
            return error
        agent, log = f"the agent on {self._name}", self._program.last_words()
        return how_it_ended(agent, code if code <= SIGNALLED else SIGNALLED - code, log, error.todo)
