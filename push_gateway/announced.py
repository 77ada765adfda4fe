"""A connection that a proxy passes on: it begins with a PROXY header, which says whose it is. Then its transport is a link's, and this
object is gone. Before TLS, if there is any: the header is the proxy's own word and not encrypted.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from push_core.metrics.catalogue import Metric
from push_gateway.guard.proxy_protocol import Bad, read
from push_gateway.link import peer_of
from push_gateway.wheel import Timed

if TYPE_CHECKING:
    from push_gateway.context import Context

LONGEST = 4_096  # of a header: its addresses take 216 bytes at most, the rest is of no use to us


class Announced(asyncio.Protocol, Timed):
    """`link` makes what the transport is for, given the client's address: None where it is that of the transport's peer."""

    __slots__ = ("_context", "_data", "_link", "_transport")
    _transport: asyncio.Transport

    def __init__(self, context: "Context", link: Callable[[str | None], asyncio.Protocol]) -> None:
        self.armed = 0
        self._context = context
        self._link = link
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        context = self._context
        if not context.guard.door.is_announced(peer_of(transport)):
            self._go_on(None)
            return
        connections = context.registry.connections
        connections.add(self)
        if context.stopping or len(connections) > context.settings.max_connections:
            self._transport.abort()
            return
        context.wheel.arm(self, context.clock.monotonic() + context.settings.upgrade_timeout_s)

    def data_received(self, data: bytes) -> None:
        self._data += data
        header = read(self._data, LONGEST)
        if header is None:
            return
        if isinstance(header, Bad):
            self._context.counters.add(Metric.GW_PROXY_HEADERS, "bad")
            self._transport.abort()
            return
        self._context.counters.add(Metric.GW_PROXY_HEADERS, "local" if header.address is None else "client")
        rest, self._data = self._data[header.length :], b""
        self._forget()
        link = self._go_on(header.address)
        if rest and not self._transport.is_closing():
            link.data_received(rest)

    def connection_lost(self, _: Exception | None) -> None:
        self._forget()

    def on_due(self, now: float) -> None:  # noqa: ARG002 - it is late, whatever the time
        self._context.counters.add(Metric.GW_PROXY_HEADERS, "late")
        self._transport.abort()

    def close(self, code: int, reason: str = "", *, retry_after_ms: int = 0, sign_out: bool = True) -> None:  # noqa: ARG002 - as links are closed
        """There is nobody yet who would understand why."""
        self._transport.abort()

    def abort(self) -> None:
        self._transport.abort()

    def _go_on(self, address: str | None) -> asyncio.Protocol:
        link = self._link(address)
        self._transport.set_protocol(link)
        link.connection_made(self._transport)
        return link

    def _forget(self) -> None:
        self._context.wheel.cancel(self)
        self._context.registry.connections.discard(self)
