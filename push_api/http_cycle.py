"""A request and its answer as uvicorn has them, with the usual case made cheap: a body that has come already, an answer that is known as a whole.

uvicorn writes an answer's head and its body by themselves, a system call each. ASGI lets a server wait with the head until there is body to
send (https://asgi.readthedocs.io/en/latest/specs/www.html, "Response Start"), and an API's answers are one piece. What is not that simple is left to
uvicorn, in its own order. Measured by `python -m bench.api` (bench/README.md).
"""

from collections.abc import Sequence
from typing import Any

from uvicorn._types import ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

_SPECIAL = frozenset({b"connection", b"transfer-encoding"})


class Cycle(RequestResponseCycle):
    _head: Any = None  # of an answer, until its body begins

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "http.response.start" and not self.response_started:
            self._head = message
            return
        head, self._head = self._head, None
        if head is None:
            await super().send(message)
        elif not self._send_whole(head["status"], head.get("headers", ()), message):
            await super().send(head)
            await super().send(message)

    async def receive(self) -> ASGIReceiveEvent:
        if self.more_body or self.waiting_for_100_continue or self.disconnected or not self.message_event.is_set():
            return await super().receive()
        if self.response_complete:
            return {"type": "http.disconnect"}
        self.flow.resume_reading()
        self.message_event.clear()
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": False}

    def _send_whole(self, status: int, headers: Sequence[tuple[bytes, bytes]], message: Any) -> bool:
        """Write head and body at once, if this is an answer of known length on a connection that stays. False: nothing was done."""
        if not self.keep_alive or self.disconnected or self.flow.write_paused or self.scope["method"] == "HEAD":
            return False
        if message["type"] != "http.response.body" or message.get("more_body", False):
            return False
        body = message.get("body", b"")
        length = b"%d" % len(body)
        parts = [STATUS_LINE[status]]
        known = False
        for name, value in (*self.default_headers, *headers):
            if name == b"content-length":
                known = value == length
            elif name in _SPECIAL:
                return False
            parts += (name, b": ", value, b"\r\n")
        if not known:
            return False
        head = b"".join(parts)
        # Each header is one line, or somebody smuggled in another: uvicorn says so.
        if head.count(b"\n") != 1 + (len(parts) - 1) // 4 or head.count(b"\r") != head.count(b"\n"):
            return False
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.chunked_encoding = False
        self.transport.write(b"%b\r\n%b" % (head, body))
        self.message_event.set()
        self.on_response()
        return True
