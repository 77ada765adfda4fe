"""The way in: a TCP connection from its accept to the device's hello. Then its transport is a `Connection`'s, and this object is gone.

Upgrading ──101──▶ Unsigned ──hello──▶ (Connection)
"""

import asyncio
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from push_gateway import handshake
from push_gateway import websocket_frames as ws
from push_gateway.connection import Connection
from push_gateway.link import DEAF, Link
from sdk_proto.wire.close import CloseCode
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.server import Close, Joining, Unsigned

if TYPE_CHECKING:
    from push_gateway.context import Context


class Upgrading:
    """The upgrade request is arriving."""

    __slots__ = ("head",)

    def __init__(self) -> None:
        self.head = b""


class Left:
    """The transport is a connection's now."""

    __slots__ = ()


class Entrance(Link):
    __slots__ = ()

    def __init__(self, context: "Context") -> None:
        super().__init__(context, Upgrading())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        context = self._context
        self._transport = transport
        connections = context.registry.connections
        connections.add(self)
        if context.stopping or len(connections) > context.settings.max_connections:
            self._state = DEAF
            transport.abort()
            return
        transport.set_write_buffer_limits(high=context.settings.unsent_limit_bytes)
        context.wheel.arm(self, context.clock.monotonic() + context.settings.upgrade_timeout_s)

    def on_due(self, now: float) -> None:
        state = self._state
        if type(state) is Unsigned:
            late = state.tick(now)
            if late is not None:
                self.close(late.code, late.reason)
            else:
                self._context.wheel.arm(self, state.due)
        else:
            self._transport.abort()

    def _read_on(self) -> None:
        if type(self._state) is not Left:
            super()._read_on()

    def _read(self, data: bytes) -> None:
        state = self._state
        if type(state) is Upgrading:
            data = self._upgrade(state, data)
            if not data:
                return
        super()._read(data)

    def _upgrade(self, state: Upgrading, data: bytes) -> bytes:
        """What follows the request, once it is answered."""
        context = self._context
        state.head += data
        found = state.head.find(handshake.HEAD_END)
        end = len(state.head) if found < 0 else found + len(handshake.HEAD_END)
        if end > context.settings.max_head_bytes:
            self._answer(handshake.plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too large\n"))
            return b""
        if found < 0:
            return b""
        rest = state.head[end:]
        answer = handshake.answer(state.head[:end], ready=context.ready)
        self._answer(answer)
        return rest if answer.codec is not None else b""

    def _answer(self, answer: handshake.Answer) -> None:
        context = self._context
        self._transport.write(answer.data)
        if answer.codec is None:
            self._over(DEAF)
            self._hang_up()
            return
        unsigned = self._state = Unsigned(answer.codec, context.terms, context.clock.monotonic())
        context.wheel.arm(self, unsigned.due)

    @property
    def _codec(self) -> Codec | None:
        state = self._state
        return state.codec if type(state) is Unsigned else None

    def _message(self, message: ws.Message) -> list[ws.Event] | None:
        state = self._state
        if type(state) is not Unsigned:
            return None
        said = state.receive(message.payload, text=message.text)
        if isinstance(said, Close):
            self.close(said.code, said.reason)
            return None
        if self._context.stopping:
            self.close(CloseCode.SHUTTING_DOWN, "shutting down")
            return None
        held: list[ws.Event] = []
        self._leave(said, held)
        return held

    def _leave(self, joining: Joining, held: list[ws.Event]) -> None:
        """The transport, and whatever comes behind the hello, is a connection's from now on."""
        context = self._context
        context.wheel.cancel(self)
        context.registry.connections.discard(self)
        connection = Connection(context, self._transport, joining, held)
        connection.hold(self._partial, self._unread)
        self._state, self._partial, self._unread = Left(), None, b""
        self._transport.set_protocol(connection)
        admission = context.admission
        refusal = admission.refusal(self._address() if admission.asks_address else "")
        if refusal is None and not context.sign_ins.submit(connection, joining.hello):
            refusal = admission.full("too many sign-ins")
        if refusal is not None:
            connection.close(CloseCode.OVERLOADED, refusal.reason, retry_after_ms=refusal.retry_after_ms)

    def _address(self) -> str:
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]) if peer else ""
