"""The HTTP server under the API: uvicorn's protocol in our event loop, under our life cycle and our bounds.

uvicorn brings HTTP/1.1 (on httptools), its server class is left out: that one takes the process's signals and polls while it stops. What is added here is what it leaves open against slow or careless clients: a
deadline for a request's head, an end for a body that nobody will read, a bound on heads and connections, and the
contract's error body in the answers that uvicorn gives by itself. Knows nothing of messages.
"""

import asyncio
import errno
import socket
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any

import httptools
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from push_api.asgi import ASGIApp, not_found
from push_api.errors import body_of
from push_api.settings import ApiSettings
from push_core.errors import CODES, ConfigError, Overloaded, TacoError, UserError
from push_core.limits.addresses import AddressCounts

log = structlog.get_logger(__name__)

_NOT_HTTP = "the request is not HTTP/1.1, or its head is too large"
_LINGER_S = 1.0
_READ_AT_ONCE = 16_384  # bytes looked at before everybody else has a turn: what fits may be thousands of chunks
_OFFER = frozenset({b"connection", b"upgrade", b"http2-settings"})

Routes = Sequence[BaseRoute]
"""What a composition may add to the API's paths."""


class HttpServer:
    """One listening socket. `start` raises ConfigError when the address can't be used."""

    def __init__(self, app: ASGIApp, settings: ApiSettings, addresses: AddressCounts) -> None:
        self._settings = settings
        self._addresses = addresses
        self._config = uvicorn.Config(
            app,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]  # for call_later, which takes parts of seconds
        )
        self._state = ServerState()
        self._server: asyncio.Server | None = None
        self._date: asyncio.TimerHandle | None = None
        self._port = 0

    @property
    def url(self) -> str:
        """Known after `start`."""
        host = self._settings.host
        return f"http://[{host}]:{self._port}" if ":" in host else f"http://{host}:{self._port}"

    async def start(self) -> None:
        listener = await listen(self._settings.host, self._settings.port)
        self._port = listener.getsockname()[1]
        self._config.load()
        self._tell_date()
        self._server = await asyncio.get_running_loop().create_server(self._connection, sock=listener)

    async def stop(self, grace_s: float) -> None:
        """Take no new connections, finish the requests under way within `grace_s` seconds, end the others."""
        if self._server is None:
            return
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        self._server.close()
        for connection in list(self._state.connections):
            connection.shutdown()  # at once if idle, else after the answer
        while self._state.tasks and (left := end - loop.time()) > 0:
            await asyncio.wait(set(self._state.tasks), timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if late := set(self._state.tasks):
            log.warning("requests not finished in time are ended", requests=len(late))
            for task in late:
                task.cancel()
            await asyncio.wait(late, timeout=1.0)  # each answers 503
        for connection in list(self._state.connections):
            connection.transport.close()
        if self._date is not None:
            self._date.cancel()

    def _connection(self) -> asyncio.Protocol:
        return _BoundedHttp(
            self._settings, self._addresses, config=self._config, server_state=self._state, app_state={}
        )

    def _tell_date(self) -> None:
        """The Date header (RFC 9110 §6.6.1), made once a second."""
        self._state.default_headers = [(b"date", formatdate(usegmt=True).encode())]
        self._date = asyncio.get_running_loop().call_later(1.0, self._tell_date)


async def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises ConfigError with a sentence."""
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setblocking(False)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(2048)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"[api] port: {port} on {host} is taken by another program; stop it or choose another port (0 picks a free one)"
            ) from None
        raise ConfigError(f"[api] host and port: can't listen on {host}:{port} ({error.strerror or error})") from None
    return listener


def fallback(routes: Routes) -> ASGIApp:
    """The routes that the composition adds, and the contract's 404 for everything else. They have no more rights than any other caller."""

    async def refused(request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            body, status, headers = body_of(_as_ours(error, request.url.path)), error.status_code, error.headers
        else:
            body, status, headers = body_of(error), error.status if isinstance(error, TacoError) else 500, None
        return Response(body, status, headers, "application/json")

    return Starlette(routes=list(routes), exception_handlers={HTTPException: refused, Exception: refused})


def _as_ours(error: HTTPException, path: str) -> TacoError:
    if error.status_code == 404:
        return not_found(path)
    for code, meaning in CODES.items():
        if meaning.status == error.status_code:
            return UserError(error.detail, code=code)
    return UserError(error.detail, code="bad_request" if error.status_code < 500 else "internal")


class _Flow(FlowControl):
    """uvicorn reads on after each answer and each part of a body; here only once all that came was looked at."""

    def __init__(self, transport: asyncio.Transport, protocol: "_BoundedHttp") -> None:
        super().__init__(transport)
        self._protocol = protocol

    def resume_reading(self) -> None:
        if not self._protocol.is_behind:
            super().resume_reading()


class _LastWord:
    """The transport of a request whose connection closes with its answer, as uvicorn's cycle uses it: closed only once the body has come,
    since closing on unread bytes resets it, and the caller might never see the answer (RFC 9112 §9.6)."""

    def __init__(self, protocol: "_BoundedHttp") -> None:
        self._protocol = protocol

    def write(self, data: bytes) -> None:
        self._protocol.transport.write(data)

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()

    def close(self) -> None:
        self._protocol.close_after_body()


class _BoundedHttp(HttpToolsProtocol):
    """A connection that gets no more time and memory than the settings say.

    Three waits have a deadline: for a head (from the connection's or the request's first byte), for a body (in `requests.read_body`), and for the
    rest of a body whose request has been answered already. That rest is read and dropped rather than cut off, so that a caller that is still
    sending gets to see why it was refused.

    A read is parsed in slices with everybody else in between, and no further than to a request that has to wait for the one before it: nobody can
    keep the event loop, or memory, with chunks, trailers or requests without end.
    """

    def __init__(self, settings: ApiSettings, addresses: AddressCounts, **given: Any) -> None:
        super().__init__(**given)
        self.settings = settings
        self._addresses = addresses
        self._address = ""
        self._unparsed = b""
        self._parsing_soon = False
        self._head_bytes = 0
        self._trailer_bytes = 0
        self._in_head = True
        self._in_body = False
        self._waiting_for = ""
        self._done = False
        self._closes = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.flow = _Flow(transport, self)
        self._address = self.client[0] if self.client else ""
        if not self._addresses.enter(self._address):
            self._answer_outside(UserError("too many connections from this address", code="rate_limited"))
            self.transport.close()
            return
        if len(self.connections) > self.settings.max_connections:
            self._answer_outside(Overloaded("too many connections"))
            self.transport.close()
            return
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._addresses.leave(self._address)
        self._unset_keepalive_if_required()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def is_behind(self) -> bool:
        """Whether there is more than was looked at, or more requests than are being answered."""
        return bool(self._unparsed or self.pipeline)

    def data_received(self, data: bytes) -> None:
        if self._done or self.transport.is_closing():
            return
        self._unparsed += data
        if not self._parsing_soon and not self.pipeline:
            self._parse_on()
        if self._unparsed:
            self.flow.pause_reading()

    def _parse_soon(self) -> None:
        if self._unparsed and not self._parsing_soon and not self.pipeline:
            self._parsing_soon = True
            self.loop.call_soon(self._parse_on)

    def _parse_on(self) -> None:
        """The next slice of what came."""
        self._parsing_soon = False
        if self._done or self.transport.is_closing():
            self._unparsed = b""
        else:
            data, self._unparsed = self._unparsed[:_READ_AT_ONCE], self._unparsed[_READ_AT_ONCE:]
            self._parse(data)
            self._parse_soon()
        full = self.cycle is not None and not self.cycle.response_complete and len(self.cycle.body) > HIGH_WATER_LIMIT
        if not full and not self.transport.is_closing():
            self.flow.resume_reading()

    def _parse(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        self._head_bytes += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as offer:
            self._decline_upgrade(data[offer.args[0] :])
        except httptools.HttpParserError:
            self.send_400_response(_NOT_HTTP)
        # A head that goes on and on is not waited for. Of a header that is still coming the parser says nothing: its bytes count as read.
        if self._in_head and max(self._head_bytes, self._head_size()) > self.settings.max_head_bytes:
            self.send_400_response(_NOT_HTTP)
        self._watch()

    def _decline_upgrade(self, rest: bytes) -> None:
        """Start the request over without its offer to speak something else, as RFC 9110 §7.8 allows: the parser would skip its body.

        Some clients offer HTTP/2 with whatever they ask first (Java's does).
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self.send_400_response(_NOT_HTTP)
            return
        kept = [name + b": " + value for name, value in self.headers if name not in _OFFER]
        head = b"\r\n".join([method + b" " + self.url + b" HTTP/1.1", *kept, b"connection: close", b"", b""])
        self.parser = httptools.HttpRequestParser(self)
        try:
            self.parser.feed_data(head + rest)
        except httptools.HttpParserError:
            self.send_400_response(_NOT_HTTP)

    def send_400_response(self, msg: str) -> None:
        """Answer and hang up. What the caller still sends is dropped for a moment before the connection closes: closing on unread bytes
        resets it, and the caller might never see the answer (RFC 9112 §9.6)."""
        if self._done:
            return
        self._done = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False  # the request before it still gets its answer
            return
        # Else what is broken is the rest of a request that has its answer, or comes after the last one.
        if (self._in_head or not self._in_body) and not self._closes:
            self._answer_outside(UserError(msg, code="bad_request"))
        if self._timer is not None:
            self._timer.cancel()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._timer = self.loop.call_later(_LINGER_S, self.transport.close)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = self._in_body = True
        self._trailer_bytes = 0
        # What was read so far belongs to the request before; of the rest of this read the parsed part counts.
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            super().on_header(name, value)
            return
        self._trailer_bytes += len(name) + len(value) + 4  # trailers mean nothing here (RFC 9110 §6.5): not kept
        if self._trailer_bytes > self.settings.max_head_bytes:
            raise ValueError  # as below

    def on_headers_complete(self) -> None:
        if self._head_size() > self.settings.max_head_bytes:
            raise ValueError  # httptools makes it the HttpParserError that data_received answers
        if not self.parser.should_upgrade():
            super().on_headers_complete()
            self._in_head = False
            if not self.cycle.keep_alive:
                self.cycle.transport = _LastWord(self)  # type: ignore[assignment]  # all that a cycle needs

    def on_message_complete(self) -> None:
        if not self.parser.should_upgrade():
            super().on_message_complete()
            self._in_body = False
            if self._closes:
                self.transport.close()

    def close_after_body(self) -> None:
        """The last answer is written. The rest of its request is read and dropped, within the time for that (`_watch`)."""
        if not self._in_body:
            self.transport.close()
            return
        self._closes = True
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._parse_soon()
        self._watch()

    def _head_size(self) -> int:
        """Bytes of the head as far as it is parsed; none before the first request."""
        if not self.headers:
            return 0
        return len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])

    def _watch(self) -> None:
        """Set the deadline for what this connection waits for now."""
        if self._done or self.transport.is_closing():
            return
        answered = self.cycle is not None and self.cycle.response_complete
        if self._in_head:
            waiting_for, timeout_s = "head", self.settings.head_timeout_s
        elif self._in_body and answered:
            waiting_for, timeout_s = "rest", self.settings.body_timeout_s
        else:
            waiting_for, timeout_s = "", 0.0
            if answered and self.timeout_keep_alive_task is None:
                # The rest of a body came after the answer, or an empty line between requests: uvicorn took its timer away.
                self.timeout_keep_alive_task = self.loop.call_later(
                    self.timeout_keep_alive, self.timeout_keep_alive_handler
                )
        if waiting_for == self._waiting_for:
            return
        self._waiting_for = waiting_for
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiting_for:
            self._timer = self.loop.call_later(timeout_s, self.timeout_keep_alive_handler)

    def _answer_outside(self, error: TacoError) -> None:
        """An answer outside of any request."""
        body = body_of(error)
        self.transport.write(
            STATUS_LINE[error.status]
            + b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
            + (b"retry-after: 1\r\n" if error.retry else b"")
            + b"connection: close\r\n\r\n"
            + body
        )
