"""One HTTP connection: uvicorn's protocol with an end to every wait and a bound on everything.

What is added is what uvicorn leaves open against slow or careless clients: a deadline for a request's head, an end for a body that nobody will read, a
bound on heads and connections, and the contract's error body in the answers that uvicorn gives by itself. What is done otherwise than there
(`_begin`, `on_response_complete`) is done for its price: a request costs no timer of its own.
"""

import asyncio
import urllib.parse
from typing import Any

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from push_api.errors import body_of
from push_api.http_cycle import Cycle
from push_api.settings import ApiSettings
from push_core.errors import Overloaded, TacoError, UserError
from push_core.limits.addresses import AddressCounts

_NOT_HTTP = "the request is not HTTP/1.1, or its head is too large"
_LINGER_S = 1.0
READ_AT_ONCE = 16_384
"""Bytes looked at before everybody else has a turn: what fits may be thousands of chunks."""
_OFFER = frozenset({b"connection", b"upgrade", b"http2-settings"})


class _Flow(FlowControl):
    """uvicorn reads on after each answer and each part of a body; here only once all that came was looked at."""

    def __init__(self, transport: asyncio.Transport, protocol: "BoundedHttp") -> None:
        super().__init__(transport)
        self._protocol = protocol

    def resume_reading(self) -> None:
        if self.read_paused and not self._protocol.is_behind:
            super().resume_reading()


class _LastWord:
    """The transport of a request whose connection closes with its answer, as uvicorn's cycle uses it: closed only once the body has come,
    since closing on unread bytes resets it, and the caller might never see the answer (RFC 9112 §9.6)."""

    def __init__(self, protocol: "BoundedHttp") -> None:
        self._protocol = protocol

    def write(self, data: bytes) -> None:
        self._protocol.transport.write(data)

    def is_closing(self) -> bool:
        return self._protocol.transport.is_closing()

    def close(self) -> None:
        self._protocol.close_after_body()


class BoundedHttp(HttpToolsProtocol):
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
        self._idle_since = 0.0
        self._idle_timer: asyncio.TimerHandle | None = None

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
        for timer in (self._timer, self._idle_timer):
            if timer is not None:
                timer.cancel()

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
            data, self._unparsed = self._unparsed[:READ_AT_ONCE], self._unparsed[READ_AT_ONCE:]
            self._parse(data)
            self._parse_soon()
        full = self.cycle is not None and not self.cycle.response_complete and len(self.cycle.body) > HIGH_WATER_LIMIT
        if not full and not self.transport.is_closing():
            self.flow.resume_reading()

    def _parse(self, data: bytes) -> None:
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
        most = self.settings.max_head_bytes
        if self._head_bytes + READ_AT_ONCE > most and self._head_size() > most:
            raise ValueError  # httptools makes it the HttpParserError that data_received answers
        if not self.parser.should_upgrade():
            self._begin()
            self._in_head = False

    def _begin(self) -> None:
        """The request begins to be answered, or waits for those before it. As uvicorn does it, without what a server of its own would need."""
        http_version, keep_alive = self.parser.get_http_version(), self.parser.should_keep_alive()
        if self.url.startswith(b"/") and b"?" not in self.url and b"#" not in self.url:
            raw_path, query = self.url, b""
        else:
            url = httptools.parse_url(self.url)
            raw_path, query = url.path, url.query or b""
        path = raw_path.decode("ascii")
        self.scope |= {
            "method": self.parser.get_method().decode("ascii"),
            "http_version": http_version,
            "path": urllib.parse.unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
        }
        before = self.cycle
        cycle = self.cycle = Cycle(
            scope=self.scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=False,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive and http_version != "1.0",
            on_response=self.on_response_complete,
        )
        if not cycle.keep_alive:
            cycle.transport = _LastWord(self)  # type: ignore[assignment]  # all that a cycle needs
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))

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
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
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
        if self._in_head and not self.is_behind:  # else it is we who are waited for
            waiting_for, timeout_s = "head", self.settings.head_timeout_s
        elif self._in_body and answered:
            waiting_for, timeout_s = "rest", self.settings.body_timeout_s
        else:
            waiting_for, timeout_s = "", 0.0
            if answered:
                self._idle_since = self.loop.time()
                if self._idle_timer is None:
                    self._idle_timer = self.loop.call_later(self.timeout_keep_alive, self._look_whether_idle)
        if waiting_for == self._waiting_for:
            return
        self._waiting_for = waiting_for
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if waiting_for:
            self._timer = self.loop.call_later(timeout_s, self.timeout_keep_alive_handler)

    def _look_whether_idle(self) -> None:
        """One timer does for many requests: at its end it looks how long nobody has asked for anything, and goes on for the rest."""
        self._idle_timer = None
        idle = self.cycle is not None and self.cycle.response_complete and not self._in_head and not self._in_body
        if not idle or self.transport.is_closing():
            return  # set again after the next answer
        left_s = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left_s > 0:
            self._idle_timer = self.loop.call_later(left_s, self._look_whether_idle)
        else:
            self.transport.close()

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
