"""One TCP connection, whatever it is for at the moment: reading in turns, WebSocket frames, and the ways in which it ends.

`Entrance` (upgrade, hello) and `Connection` (a device's session) are links; the first hands its transport to the second. No task, no
timer and no buffer of its own: a link is an entry of the one wheel, and keeps bytes only while a frame is incomplete.
"""

import asyncio
import socket
import struct
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from push_core.metrics.catalogue import Metric
from push_gateway import websocket_frames as ws
from push_gateway.guard.addresses import normal
from push_gateway.wheel import Timed
from sdk_proto.wire.close import CloseCode
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.frames import Bye, ServerFrame

if TYPE_CHECKING:
    from push_gateway.context import Context

RESET = struct.pack("ii", 1, 0)  # SO_LINGER of no time (socket(7)): close() sends RST and forgets the connection
READ_AT_ONCE = 4_096  # bytes looked at before everybody else has a turn: what fits may be hundreds of frames


class Ending:
    """We closed: only the peer's own close is of interest."""

    __slots__ = ()


class Deaf:
    """What comes can't be understood any more, or doesn't matter: thrown away until the connection ends."""

    __slots__ = ()


ENDING, DEAF = Ending(), Deaf()


def peer_of(transport: asyncio.BaseTransport) -> str:
    """The address that a transport is connected to, in its usual form; "" if it isn't any more."""
    peer = transport.get_extra_info("peername")
    if not peer:
        return ""
    return normal(str(peer[0])) or str(peer[0])


class Link(asyncio.Protocol, Timed):
    """`_state` is what the part of its life is; `ENDING` and `DEAF` are the ends of all of them. `address` is that which its connection is counted
    under, or that a proxy told; "" while nobody asked for one, so that most links keep none."""

    __slots__ = ("_context", "_partial", "_state", "_transport", "_unread", "address")
    _transport: asyncio.Transport

    def __init__(self, context: "Context", state: Any) -> None:
        self.armed = 0
        self._context = context
        self._state = state
        self._partial: ws.Partial | None = None
        self.address = ""
        self._unread = b""  # received and not looked at yet; reading is paused as long as there is something

    @property
    def is_open(self) -> bool:
        return not isinstance(self._state, Ending | Deaf)

    @property
    def client(self) -> str:
        """The address of who is at the other end, or behind the proxy there; "" if it is gone."""
        return self.address or peer_of(self._transport)

    # ── asyncio.Protocol ──────────────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        if self._unread:  # said before reading was paused, or on its way through TLS
            self._unread += data
            return
        if len(data) > READ_AT_ONCE:  # a flood: one event loop serves all, and it would be read for as long as it comes
            self._unread = data[READ_AT_ONCE:]
            data = data[:READ_AT_ONCE]
            self._transport.pause_reading()
            self._soon_read_on()
        self._read(data)

    def eof_received(self) -> None:
        """Half-closed connections make no sense here: the transport closes itself, as soon as it has sent what is left. A peer that doesn't
        read could put that off for as long as it likes (CLOSE_WAIT): what can't be sent within the linger is thrown away."""
        if self.is_open:
            self._over(DEAF)
            self._linger()

    def pause_writing(self) -> None:
        self.close(CloseCode.TOO_SLOW, "what was sent is not read")

    def connection_lost(self, _: Exception | None) -> None:
        self._over(DEAF)
        self._partial = None
        self._unread = b""
        self._context.wheel.cancel(self)
        self._context.registry.connections.discard(self)
        self._context.guard.budgets.forget(self)
        if self.address:
            self._context.guard.door.gone(self.address)

    def _soon_read_on(self) -> None:
        asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        data, self._unread = self._unread, b""
        if len(data) <= READ_AT_ONCE and not self._transport.is_closing():
            self._transport.resume_reading()
        if data:
            self.data_received(data)

    def _read(self, data: bytes) -> None:
        if type(self._state) is not Deaf:
            events, self._partial = ws.read(self._partial, data, self._context.settings.max_message_bytes)
            # What a message costs, `_message` knows; what is no whole frame costs as much as one.
            frames = sum(type(event) is not ws.Message for event in events) if events else 1
            if self._may_send(frames, len(data)):
                self._take(events)

    def _may_send(self, frames: int, size: int) -> bool:
        """Whether it still may after these. If not it is closed."""
        context = self._context
        over = context.guard.budgets.spend(self, frames, size, context.clock.monotonic())
        if not over:
            return True
        if self.is_open:
            context.counters.add(Metric.LIMITED, f"session_{over}")
            rest_ms = int(context.settings.session_burst_s * 1_000)
            self.close(CloseCode.OVERLOADED, f"too many {over}", retry_after_ms=rest_ms)
        return False

    def _take(self, events: Sequence[ws.Event]) -> None:
        pongs = b""
        for place, event in enumerate(events):
            if type(event) is ws.Ping:
                pongs += ws.pong_frame(event.payload)
                continue
            if pongs:  # each ping has its answer, and has it before whatever came behind it
                self._pong(pongs)
                pongs = b""
            if type(event) is ws.Message:
                follow = self._message(event)
                if follow is not None:
                    follow += events[place + 1 :]
                    return
            elif type(event) is ws.Pong:
                self._heard()
            elif type(event) is ws.Closing:
                self._closed_by_peer(event.code)
            elif type(event) is ws.Violation:
                self._violated(event)
        if pongs:
            self._pong(pongs)

    def _pong(self, frames: bytes) -> None:
        if self.is_open:
            self._transport.write(frames)
            self._heard()

    # ── what the parts of its life decide ─────────────────────────────────────────────────────────────────────────────

    @abstractmethod
    def _message(self, message: ws.Message) -> list[ws.Event] | None:
        """Where the events behind it go, if they are not this link's to take."""

    def _heard(self) -> None:
        """The peer showed below the level of messages that it lives."""

    @property
    @abstractmethod
    def _codec(self) -> Codec | None:
        """What `bye` is said in; None where the peer does not speak WebSocket yet."""

    def _over(self, state: Ending | Deaf, *, code: int = 0, sign_out: bool = True) -> None:  # noqa: ARG002 - for those that have a route
        """The link serves nobody any more, if it isn't so already. `code`: what we close it with; 0: the end came from elsewhere."""
        if self.is_open:
            self._state = state

    # ── ends ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def close(self, code: int, reason: str = "", *, retry_after_ms: int = 0, sign_out: bool = True) -> None:
        """`bye`, then a close with the same code; what can't be sent within the linger is thrown away. Nothing happens if it is
        closed already. Without `sign_out` the route is another connection's by now."""
        if not self.is_open:
            return
        codec = self._codec
        self._context.counters.add(Metric.GW_CLOSED, str(int(code)))
        self._over(ENDING, code=code, sign_out=sign_out)
        if codec is None:
            self._transport.abort()
            return
        self._send([Bye(code=code, reason=reason, retry_after_ms=retry_after_ms)], codec)
        self._transport.write(ws.close_frame(code, reason))
        self._linger()

    def abort(self) -> None:
        self._transport.abort()

    def _closed_by_peer(self, code: int) -> None:
        if self.is_open:
            self._over(DEAF)
            self._transport.write(ws.close_frame(code))
            self._linger()
        self._state = DEAF
        self._transport.close()

    def _violated(self, violation: ws.Violation) -> None:
        """RFC 6455 §7.1.7: fail the connection."""
        if not self.is_open:
            self._state = DEAF
            self._transport.close()
            return
        self._context.counters.add(Metric.GW_CLOSED, str(violation.code))
        self._over(DEAF)
        self._transport.write(ws.close_frame(violation.code, violation.reason))
        self._hang_up()

    def _hang_up(self) -> None:
        """Our last word is said, and nothing more is understood. What the peer still sends is thrown away until it hangs up too: a
        socket closed with unread bytes is reset, and the peer would not see why."""
        self._transport.write_eof()
        self._linger()

    def _cut_off(self) -> None:
        """The linger is over. With a reset: the kernel would go on for minutes to tell a peer that isn't there any more, or to wait for the
        FIN of one that never sends it."""
        sock = self._transport.get_extra_info("socket")
        if sock is not None:
            with suppress(OSError):  # it is gone already
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._transport.abort()

    def _linger(self) -> None:
        self._context.wheel.arm(self, self._context.clock.monotonic() + self._context.settings.close_linger_s)

    def _send(self, frames: Sequence[ServerFrame], codec: Codec) -> None:
        self._transport.write(ws.data_frame(codec.encode(frames), text=not codec.binary))
