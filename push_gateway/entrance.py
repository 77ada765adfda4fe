"""The way in: a TCP connection from its accept to the device's hello. Then its transport is a `Connection`'s, and this object is gone.

    (Announced, of a proxy ──header──▶) Upgrading ──101──▶ Unsigned ──hello──▶ (Connection)

Whose connection it is, is found on the way (`push_gateway.guard.door`): at its accept, by a PROXY header, or by the request.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from push_core.metrics.catalogue import Metric
from push_gateway import handshake
from push_gateway import websocket_frames as ws
from push_gateway.connection import Connection
from push_gateway.guard.rule_book import NO_LIMITS
from push_gateway.link import DEAF, Link, peer_of
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
    """`told`: the client's address, by the proxy that passes it on; None: that of the transport's peer."""

    __slots__ = ("_limits", "_told")

    def __init__(self, context: "Context", told: str | None = None) -> None:
        super().__init__(context, Upgrading())
        self._told = told
        self._limits = NO_LIMITS

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        context = self._context
        self._transport = transport
        connections = context.registry.connections
        connections.add(self)
        if context.stopping or not self._may_come(len(connections)):
            self._state = DEAF
            transport.abort()
            return
        transport.set_write_buffer_limits(high=context.settings.unsent_limit_bytes)
        context.wheel.arm(self, context.clock.monotonic() + context.settings.upgrade_timeout_s)

    def _may_come(self, connections: int) -> bool:
        context = self._context
        if connections > context.settings.max_connections:
            context.counters.add(Metric.LIMITED, "connections")
            return False
        door = context.guard.door
        if not door.looks and self._told is None:
            return True
        address = self.client
        return door.names_others(address) or self._count_under(address)

    @property
    def client(self) -> str:
        return self.address or self._told or peer_of(self._transport)

    def _count_under(self, address: str) -> bool:
        """Whether there may be one more connection of the address. It is counted until the connection is lost."""
        self.address = address
        return self._context.guard.door.come(address)

    def on_due(self, now: float) -> None:
        state = self._state
        if type(state) is Unsigned:
            late = state.tick(now)
            if late is not None:
                self.close(late.code, late.reason)
            else:
                self._context.wheel.arm(self, state.due)
        else:
            self._cut_off()

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
        screen = self._screen if context.guard.door.wants_requests else None
        answer = handshake.answer(state.head[:end], ready=context.ready, screen=screen)
        self._answer(answer)
        return rest if answer.codec is not None else b""

    def _screen(self, forwarded: Sequence[str], user_agent: str) -> handshake.Answer | None:
        """A request of a device is there: what it is refused with, or None."""
        door = self._context.guard.door
        peer = self.client
        address = door.client(peer, forwarded)
        if (address != peer or (door.looks and not self.address)) and not self._count_under(address):
            # An answer, where others are hung up on: a proxy would take that for a fault of ours.
            retry_s = max(1, self._context.settings.overload_retry_ms // 1_000)
            text = "too many connections from this address\n"
            return handshake.plain(HTTPStatus.TOO_MANY_REQUESTS, text, retry_after_s=retry_s)
        limits = door.screen(address, user_agent)
        if limits is None:
            return handshake.plain(HTTPStatus.FORBIDDEN, "refused\n")
        self._limits = limits
        return None

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
        admission, limits = context.admission, self._limits
        address = self.client if limits or admission.asks_address else ""
        connection = Connection(context, self._transport, joining, held)
        connection.address, self.address = self.address, ""
        connection.hold(self._partial, self._unread)
        self._state, self._partial, self._unread = Left(), None, b""
        self._transport.set_protocol(connection)
        refusal = admission.refusal(address, limits)
        if refusal is None and not context.sign_ins.submit(connection, joining.hello):
            refusal = admission.full("too many sign-ins")
        if refusal is not None:
            connection.close(CloseCode.OVERLOADED, refusal.reason, retry_after_ms=refusal.retry_after_ms)
