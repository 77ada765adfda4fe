"""The TLS handshake of a connection, before anybody knows what it is for. Then its transport is a link's, and this object is gone.

A handshake costs the event loop half a millisecond and more, and after an outage thousands come at once. So they queue: a few in each turn of
the loop, and pushes and acks of those that are in between them. Who waits longer than the handshake's time is closed.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from push_core.metrics.catalogue import Metric
from push_gateway.tls.transport import Pipes, TlsTransport
from push_gateway.wheel import Timed

if TYPE_CHECKING:
    from push_gateway.context import Context

A_TURN = 2  # handshakes that take a step before everybody else has a turn
MOST_BYTES = 64 * 1024  # of a whole handshake from a client: with a long chain of certificates it is a tenth

# What OpenSSL calls it, and what it means to an operator. What is not here is "failed".
REASONS = {
    "HTTP_REQUEST": "not_tls",
    "WRONG_VERSION_NUMBER": "not_tls",
    "PACKET_LENGTH_TOO_LONG": "not_tls",
    "UNSUPPORTED_PROTOCOL": "too_old",
    "UNKNOWN_PROTOCOL": "too_old",
    "VERSION_TOO_LOW": "too_old",
    "NO_SHARED_CIPHER": "too_old",
    "NO_SUITABLE_SIGNATURE_ALGORITHM": "too_old",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "client_certificate",
    "CERTIFICATE_VERIFY_FAILED": "client_certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "distrusted",
    "SSLV3_ALERT_BAD_CERTIFICATE": "distrusted",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "distrusted",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "distrusted",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "distrusted",
    "TLSV1_ALERT_ACCESS_DENIED": "distrusted",
}


class Handshakes:
    """All those of a node. `current` says which context the next one gets; `link` makes what the transport is for, given the client's address
    where a proxy told it."""

    def __init__(
        self,
        context: "Context",
        current: Callable[[], ssl.SSLContext],
        link: Callable[[str | None], asyncio.Protocol],
    ) -> None:
        self.context = context
        self.pipes = Pipes()
        self._current = current
        self.link = link
        self._waiting: deque[Handshake] = deque()

    def __call__(self, told: str | None = None) -> "Handshake":
        """For a connection that is accepted."""
        pipes = self.pipes
        return Handshake(self, told, self._current().wrap_bio(pipes.incoming, pipes.outgoing, server_side=True))

    def wait(self, handshake: "Handshake") -> None:
        self._waiting.append(handshake)
        if len(self._waiting) == 1:
            self._soon()

    def _soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        waiting = self._waiting
        try:
            for _ in range(min(A_TURN, len(waiting))):
                waiting[0].step()
                waiting.popleft()
        except BaseException:
            waiting.popleft()  # whoever fails so badly has no second turn
            raise
        finally:
            if waiting:
                self._soon()


class Handshake(asyncio.Protocol, Timed):
    __slots__ = ("_count", "_data", "_ends", "_object", "_raw", "_shared", "_told", "_waits")
    _raw: asyncio.Transport

    def __init__(self, shared: Handshakes, told: str | None, object_: ssl.SSLObject) -> None:
        self.armed = 0
        self._shared = shared
        self._told = told
        self._object = object_
        self._data = b""
        self._count = 0
        self._ends = False  # the client says no more
        self._waits = False  # for its turn; what comes meanwhile is bounded

    # ── asyncio.Protocol ──────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast(asyncio.Transport, transport)  # uvloop's are none by class
        context = self._shared.context
        connections = context.registry.connections
        connections.add(self)
        if context.stopping or len(connections) > context.settings.max_connections:
            self._raw.abort()
            return
        context.wheel.arm(self, context.clock.monotonic() + context.settings.tls_handshake_timeout_s)

    def data_received(self, data: bytes) -> None:
        self._data += data
        self._count += len(data)
        if self._count > MOST_BYTES:
            self._end("failed")
        elif not self._waits:
            self._waits = True
            self._shared.wait(self)

    def eof_received(self) -> bool:
        """Whether to keep the transport: what the client said last, say why it doesn't believe us, has its turn first."""
        self._ends = True
        return self._waits

    def connection_lost(self, _: Exception | None) -> None:
        if self.armed and self._count:  # who said nothing was a port check of a load balancer
            self._tell("gone")
        self._forget()

    # ── its turn ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def step(self) -> None:
        self._waits = False
        if not self.armed or self._raw.is_closing():  # its time was over before its turn came
            return
        pipes = self._shared.pipes
        pipes.incoming.write(self._data)
        self._data = b""
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            if self._ends:
                self._end("gone")
        except ssl.SSLError as error:
            pipes.incoming.read()
            self._flush()  # an alert, which says why
            self._end(REASONS.get(error.reason or "", "failed"))
        else:
            rest = pipes.incoming.read()
            self._flush()
            self._tell("resumed" if self._object.session_reused else "full")
            self._forget()
            TlsTransport(self._raw, self._object, pipes).begin(self._shared.link(self._told), rest)

    def _flush(self) -> None:
        data = self._shared.pipes.outgoing.read()
        if data:
            self._raw.write(data)

    # ── ends ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_due(self, now: float) -> None:  # noqa: ARG002 - it is late, whatever the time
        self._tell("timeout")
        self._raw.abort()

    def close(self, code: int, reason: str = "", *, retry_after_ms: int = 0) -> None:  # noqa: ARG002 - as links are closed
        """There is nobody yet who would understand why."""
        self._forget()
        self._raw.abort()

    def abort(self) -> None:
        self._forget()
        self._raw.abort()

    def _end(self, outcome: str) -> None:
        self._tell(outcome)
        self._forget()
        self._raw.close()

    def _tell(self, outcome: str) -> None:
        self._shared.context.counters.add(Metric.GW_TLS_HANDSHAKES, outcome)

    def _forget(self) -> None:
        context = self._shared.context
        context.wheel.cancel(self)
        context.registry.connections.discard(self)
