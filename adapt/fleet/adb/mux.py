"""Many streams over one link to adbd.

One thread reads packets and lays them where the streams find them; it never writes, so that a
device which takes nothing cannot keep it from reading. Flow control is adb's own: each side sends
one packet of a stream, and the next when the other has said OKAY. The OKAY is sent when somebody
has read the packet, so no more than one of each stream is ever kept.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque

from adb_shell import constants

from adapt.fleet.adb.packets import Packet, Packets
from adapt.fleet.link import STALL_SECONDS, Gone, LinkError, Refused, TimedOut

__all__ = ["Multiplexer"]

MAX_STREAMS = 1024
CLOSE_SECONDS = 2.0
# Packets of a stream that nobody has read: one, and one whose OKAY crosses it on the way.
MAX_WAITING = 2
MAX_MESSAGE = 300


class Multiplexer:
    """The streams of one link, whose handshake is done; `name` is for messages."""

    def __init__(self, packets: Packets, max_payload: int, name: str) -> None:
        self.packets = packets
        self.max_payload = max_payload
        self.name = name
        self._streams: dict[int, MuxStream] = {}
        self._last_id = 0
        self._lock = threading.Lock()
        self._end: LinkError | None = None
        self._reader = threading.Thread(target=self._read, name=f"adb-{name}", daemon=True)
        self._reader.start()

    def open(self, destination: str) -> MuxStream:
        """A stream to a service of the device; Refused where nobody serves it."""
        with self._lock:
            if self._end is not None:
                raise _again(self._end)
            if len(self._streams) >= MAX_STREAMS:
                raise LinkError(f"{MAX_STREAMS} streams to {self.name} are open", "close some")
            self._last_id += 1
            stream = self._streams[self._last_id] = MuxStream(self, self._last_id)
        try:
            service = destination.encode() + b"\0"
            self.packets.write(Packet(constants.OPEN, stream.local_id, 0, service))
            stream.await_answer(destination)
        except BaseException:
            stream.close()
            raise
        return stream

    def close(self) -> None:
        """End all streams and let go of the device; may be called twice."""
        self._finish(Gone(f"the link to {self.name} was closed", "open it again"))
        self.packets.interrupt()
        if self._reader is not threading.current_thread():
            self._reader.join(CLOSE_SECONDS)
        self.packets.close()

    def forget(self, local_id: int) -> bool:
        """Take a stream off the books; whether it was on them."""
        with self._lock:
            return self._streams.pop(local_id, None) is not None

    def _read(self) -> None:
        while True:
            try:
                packet = self.packets.read(None)
            except LinkError as error:
                self._finish(error)
                return
            with self._lock:
                stream = self._streams.get(packet.arg1)
            # What comes for a stream that was closed here crossed our CLSE on the way.
            if stream is None:
                continue
            if packet.command == constants.OKAY:
                stream.okay(packet.arg0)
            elif packet.command == constants.WRTE:
                stream.arrived(packet.data)
            elif packet.command == constants.CLSE:
                self.forget(stream.local_id)
                stream.ended(None)

    def _finish(self, error: LinkError) -> None:
        with self._lock:
            self._end = self._end or error
            streams = list(self._streams.values())
            self._streams.clear()
        for stream in streams:
            stream.ended(self._end)


class MuxStream:
    """One stream; made by Multiplexer.open."""

    def __init__(self, mux: Multiplexer, local_id: int) -> None:
        self.local_id = local_id
        self._mux = mux
        self._remote_id = 0
        # Guards all below. OKAY, WRTE and CLSE may all be here before the opener looks.
        self._changed = threading.Condition()
        self._may_write = False
        self._arrived: deque[bytes] = deque()
        self._over = False
        self._error: LinkError | None = None

    def await_answer(self, destination: str) -> None:
        """Wait until the device has opened the stream."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._remote_id or self._over, STALL_SECONDS):
                raise TimedOut(
                    f"{self._mux.name} did not answer in time", "plug it in again, then try again"
                )
            if not self._remote_id:
                self._fail()
                raise Refused(f"{self._mux.name} does not serve {destination!r}"[:MAX_MESSAGE])

    def read(self, timeout_s: float | None = None) -> bytes:
        """What has come; b"" at the end."""
        data = b""
        while not data:
            with self._changed:
                if not self._changed.wait_for(lambda: self._arrived or self._over, timeout_s):
                    raise TimedOut(f"{self._mux.name} sent nothing in time", "try again")
                if not self._arrived:
                    self._fail()
                    return b""
                data = self._arrived.popleft()
                acknowledge = not self._over
            if acknowledge:
                # Where the link breaks over this, the next read says so.
                with contextlib.suppress(Gone):
                    self._mux.packets.write(Packet(constants.OKAY, self.local_id, self._remote_id))
        return data

    def write(self, data: bytes) -> None:
        """Send all of `data`, in packets as large as the device takes."""
        for start in range(0, len(data), self._mux.max_payload):
            part = data[start : start + self._mux.max_payload]
            self._await_credit()
            self._mux.packets.write(Packet(constants.WRTE, self.local_id, self._remote_id, part))

    def close(self) -> None:
        """Tell the device that this is the end; may be called twice."""
        known = self._mux.forget(self.local_id)
        self.ended(None)
        if known:
            with contextlib.suppress(Gone):
                self._mux.packets.write(Packet(constants.CLSE, self.local_id, self._remote_id))

    def okay(self, remote_id: int) -> None:
        """The device has opened the stream, or taken a packet."""
        with self._changed:
            self._remote_id = self._remote_id or remote_id
            self._may_write = True
            self._changed.notify_all()

    def arrived(self, data: bytes) -> None:
        """A packet came; one that was not asked for ends the stream, for it could go on so."""
        with self._changed:
            flood = len(self._arrived) >= MAX_WAITING
            if not flood:
                self._arrived.append(data)
            self._changed.notify_all()
        if flood:
            self._mux.forget(self.local_id)
            self.ended(Gone(f"{self._mux.name} sends what nobody asked for", "plug it in again"))

    def ended(self, error: LinkError | None) -> None:
        """Nothing more will come; what has is still read first."""
        with self._changed:
            self._over = True
            self._error = self._error or error
            self._changed.notify_all()

    def _await_credit(self) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._may_write or self._over, STALL_SECONDS):
                raise TimedOut(f"{self._mux.name} takes no more data", "try again")
            if self._over:
                self._fail()
                raise Refused(f"{self._mux.name} has closed the stream", "try again")
            self._may_write = False

    def _fail(self) -> None:
        """Raise what ended the link, where it was not the device closing this stream."""
        if self._error is not None:
            raise _again(self._error)


def _again(error: LinkError) -> LinkError:
    """The same for another thread to raise: a traceback belongs to one."""
    return type(error)(error.what, error.todo)
