"""A WebSocket client of the bare minimum (RFC 6455), for many connections in one process at little cost: load and tests.

It speaks what a taco gateway speaks and refuses the rest: no extensions, no fragmented messages. Phones and applications use
`transport.py`, which has a complete library behind it.
"""

import asyncio
import base64
import hashlib
import os
import random
from collections.abc import Callable
from typing import cast

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3
_TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x1, 0x2, 0x8, 0x9, 0xA
MAX_MESSAGE = 1 << 20
MAX_HEAD = 16_384


class LeanSocket(asyncio.Protocol):
    """One connection. `on_open`, `on_messages` (all whole messages of one read) and `on_close` are set by its owner;
    `on_close(code, reason)` comes once, with None for a connection lost without a close frame, and never after `close` or `abort`;
    `on_lost` comes last, when the socket is closed."""

    __slots__ = (
        "_buffer",
        "_closed",
        "_head_done",
        "_key",
        "_opcode",
        "_request",
        "_transport",
        "on_close",
        "on_lost",
        "on_messages",
        "on_open",
    )

    def __init__(
        self,
        host: str,
        path: str,
        subprotocol: str,
        *,
        binary: bool,
        on_open: Callable[[], None],
        on_messages: Callable[[list[bytes]], None],
        on_close: Callable[[int | None, str], None],
        on_lost: Callable[["LeanSocket"], None],
    ) -> None:
        self.on_open = on_open
        self.on_messages = on_messages
        self.on_close = on_close
        self.on_lost = on_lost
        self._opcode = _BINARY if binary else _TEXT
        self._key = base64.b64encode(os.urandom(16))
        self._request = (
            f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {self._key.decode()}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        ).encode()
        self._buffer = b""
        self._head_done = False
        self._closed = False
        self._transport: asyncio.Transport | None = None

    # ── asyncio.Protocol ──────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._closed:
            return
        buffer = self._buffer + data if self._buffer else data
        self._buffer = b""
        if not self._head_done:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                self._buffer = buffer
                if len(buffer) > MAX_HEAD:
                    self._end(None, "the answer to the upgrade is too long")
                return
            refusal = self._refusal(buffer[:end])
            if refusal is not None:
                self._end(None, refusal)
                return
            self._head_done = True
            self.on_open()
            buffer = buffer[end + 4 :]
        if buffer:
            self._read_frames(buffer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(None, str(exc) if exc else "the connection was lost")
        self._transport = None
        self.on_lost(self)

    # ── the owner ─────────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_open(self) -> bool:
        """Whether there is a socket, even one that is being closed."""
        return self._transport is not None

    def send(self, message: bytes) -> None:
        self._write(self._opcode, message)

    def close(self, code: int = 1000) -> None:
        """A close frame and the end of the connection; nobody waits for the server's answer."""
        if not self._closed:
            self._closed = True
            self._write(_CLOSE, code.to_bytes(2, "big"))
            self._hang_up()

    def abort(self) -> None:
        """End it as a lost network would: without a close frame."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    # ── the wire ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _refusal(self, head: bytes) -> str | None:
        status, *lines = head.split(b"\r\n")
        if b" 101 " not in status + b" ":
            return f"refused: {status.decode('latin-1')}"
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
        accept = base64.b64encode(hashlib.sha1(self._key + _GUID, usedforsecurity=False).digest())
        if headers.get(b"sec-websocket-accept") != accept:
            return "not a WebSocket server"
        wanted = self._request.rpartition(b"Sec-WebSocket-Protocol: ")[2].strip()
        return None if headers.get(b"sec-websocket-protocol") == wanted else "the server does not speak the subprotocol"

    def _read_frames(self, buffer: bytes) -> None:
        messages = []
        at = 0
        end = len(buffer)
        while end - at >= 2:
            first, length = buffer[at], buffer[at + 1]
            start = at + 2
            if length == 126:
                start = at + 4
                if start > end:
                    break
                length = buffer[at + 2] << 8 | buffer[at + 3]
            elif length == 127:
                start = at + 10
                if start > end:
                    break
                length = int.from_bytes(buffer[at + 2 : start], "big")
            if length > MAX_MESSAGE or buffer[at + 1] & 0x80 or not first & 0x80 or first & 0x70:
                self._end(None, "a frame that is too long, fragmented, masked or extended")
                return
            if start + length > end:
                break
            at = start + length
            opcode = first & 0x0F
            if opcode == self._opcode:
                messages.append(buffer[start:at])
            elif not self._control(opcode, buffer[start:at], messages):
                return
        self._buffer = buffer[at:]
        if messages:
            self.on_messages(messages)

    def _control(self, opcode: int, payload: bytes, messages: list[bytes]) -> bool:
        """Whether to read on. What came before a close is handed over first: it may hold the reason."""
        if opcode == _PING:
            self._write(_PONG, payload)
            return True
        if opcode == _PONG:
            return True
        if messages:
            self.on_messages(messages)
        if opcode == _CLOSE and not self._closed:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else None
            self._write(_CLOSE, payload[:2])
            self._end(code, payload[2:].decode("utf-8", "replace"))
        elif opcode != _CLOSE:
            self._end(None, f"a frame of opcode {opcode}, which the subprotocol has no use for")
        return False

    def _write(self, opcode: int, payload: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        length = len(payload)
        if length < 126:
            head = bytes((0x80 | opcode, 0x80 | length))
        elif length < 65_536:
            head = bytes((0x80 | opcode, 0xFE, length >> 8, length & 0xFF))
        else:
            head = bytes((0x80 | opcode, 0xFF)) + length.to_bytes(8, "big")
        # RFC 6455 §5.3 asks for masks that scripts in a page can't guess; between our own processes any mask will do.
        mask = random.randbytes(4)  # noqa: S311
        self._transport.write(head + mask + masked(payload, mask))

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _end(self, code: int | None, reason: str) -> None:
        if not self._closed:
            self._closed = True
            self._hang_up()
            self.on_close(code, reason)


def masked(payload: bytes, mask: bytes) -> bytes:
    """RFC 6455 §5.3, in one step of big integers.

    >>> masked(masked(b"hello", b"abcd"), b"abcd")
    b'hello'
    """
    length = len(payload)
    key = (mask * (length // 4 + 1))[:length]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(length, "little")
