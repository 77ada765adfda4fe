"""The transport of a link over TLS: between it and the TCP transport, once the handshake is done.

**One pair of pipes for all.** OpenSSL reads and writes through memory pipes. A session's are empty whenever nobody works on it: what came is
read to its end or taken out again, what was written is handed to the socket at once. So all sessions of a node share one pair, which saves 2.4 KiB
each; the rule that makes it safe is that *both pipes are empty whenever other code runs* (`_read`, `_flush`).

**Turns.** A read of the socket may hold hundreds of frames. `READ_AT_ONCE` bytes are handed on, and the rest waits for the loop's next turn
with reading paused, as it does without TLS (`push_gateway.link`).

What CPython sets by itself: SSL_MODE_RELEASE_BUFFERS, so that an idle session holds none of the 32 KiB of a record's buffers.
"""

import asyncio
import ssl
from contextlib import suppress
from typing import Any, cast

from push_gateway.link import READ_AT_ONCE

_NOBODY = asyncio.Protocol()


class Pipes:
    """What all sessions of a node share."""

    __slots__ = ("incoming", "outgoing")

    def __init__(self) -> None:
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()


class TlsTransport(asyncio.Protocol):
    """The protocol of `raw` and the transport of a link, which `begin` names. `object`'s handshake is done, its pipes are `pipes`.

    `_cipher` is what came and was not decrypted yet: reading is paused as long as there is something. `_ended`: nothing is encrypted any more,
    and what comes is thrown away.
    """

    __slots__ = ("_cipher", "_ended", "_object", "_paused", "_pipes", "_protocol", "_raw", "_turn")

    def __init__(self, raw: asyncio.Transport, object_: ssl.SSLObject, pipes: Pipes) -> None:
        self._raw = raw
        self._object = object_
        self._pipes = pipes
        self._protocol = _NOBODY
        self._cipher = b""
        self._turn = False  # `_go_on` is on its way
        self._paused = False  # by the link
        self._ended = False

    def begin(self, link: asyncio.Protocol, rest: bytes) -> None:
        """`rest`: what came with the end of the handshake."""
        self._protocol = link
        self._raw.set_protocol(self)
        link.connection_made(cast(asyncio.Transport, self))
        if rest:
            self.data_received(rest)

    # ── as the protocol of the socket ─────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        if self._cipher or self._paused:  # read by the loop before it was told to pause
            self._cipher += data
            return
        self._pipes.incoming.write(data)
        self._read()

    def eof_received(self) -> None:
        """The socket's transport closes itself. A device that hangs up without TLS' own goodbye is none the worse for it: WebSocket has its own."""
        if not self._ended:
            self._protocol.eof_received()

    def pause_writing(self) -> None:
        self._protocol.pause_writing()

    def resume_writing(self) -> None:
        self._protocol.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        self._ended = True
        self._cipher = b""
        protocol, self._protocol = self._protocol, _NOBODY  # no cycle that keeps both
        protocol.connection_lost(error)

    def _read(self) -> None:
        """One piece of what is in the incoming pipe, which is empty before anybody hears of it."""
        pipes = self._pipes
        incoming = pipes.incoming
        try:
            data = self._object.read(READ_AT_ONCE)
        except ssl.SSLWantReadError:  # part of a record: OpenSSL has it
            if pipes.outgoing.pending:
                self._flush()
            return
        except ssl.SSLError:  # forged or broken: an alert tells the peer
            incoming.read()
            self._ended = True
            self._flush()
            self._raw.close()
            return
        if incoming.pending:
            self._cipher = incoming.read()
        if pipes.outgoing.pending:
            self._flush()
        if not data:  # the peer's close_notify
            self.close()
            return
        if self._cipher or self._object.pending():
            self._raw.pause_reading()
            self._soon_go_on()
        self._protocol.data_received(data)

    def _soon_go_on(self) -> None:
        if not self._turn:
            self._turn = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._turn = False
        if self._ended or self._paused:
            return
        cipher, self._cipher = self._cipher, b""
        if cipher:
            self._pipes.incoming.write(cipher)
        self._read()
        if not self._turn and not self._paused and not self._raw.is_closing():
            self._raw.resume_reading()

    def _flush(self) -> None:
        data = self._pipes.outgoing.read()
        if data and not self._raw.is_closing():
            self._raw.write(data)

    # ── as the transport of a link ────────────────────────────────────────────────────────────────────────────────────

    def write(self, data: bytes) -> None:
        if self._ended or not data:
            return
        write = self._object.write
        try:
            done = write(data)
            while done < len(data):  # a record holds 16 KiB
                done += write(memoryview(data)[done:])
        except ssl.SSLError:  # it has seen a fatal alert
            self.abort()
            return
        self._raw.write(self._pipes.outgoing.read())

    def writelines(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def write_eof(self) -> None:
        """Our last word. What the peer still says is thrown away, undecrypted, until it hangs up too."""
        if not self._ended:
            self._say_goodbye()
            self._raw.write_eof()
            self._raw.resume_reading()

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        """What was written is sent first; nobody waits for the peer's close_notify (RFC 8446 §6.1 asks for none)."""
        if not self._ended:
            self._say_goodbye()
        self._raw.close()

    def abort(self) -> None:
        self._ended = True
        self._cipher = b""
        self._pipes.outgoing.read()
        self._raw.abort()

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        if not self._ended:
            self._paused = True
            self._raw.pause_reading()

    def resume_reading(self) -> None:
        if self._ended or not self._paused:
            return
        self._paused = False
        if self._cipher or self._object.pending():
            self._soon_go_on()
        elif not self._turn:
            self._raw.resume_reading()

    def is_reading(self) -> bool:
        return not self._paused and self._raw.is_reading()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Of what is encrypted already; nothing waits before that."""
        return self._raw.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """No socket: whoever wrote to it would write past the encryption."""
        if name == "ssl_object":
            return self._object
        return default if name == "socket" else self._raw.get_extra_info(name, default)

    def _say_goodbye(self) -> None:
        """close_notify. Only called while the incoming pipe is empty: OpenSSL looks into it for the peer's."""
        self._ended = True
        self._cipher = b""
        with suppress(ssl.SSLError):  # the peer has not said its own
            self._object.unwrap()
        self._flush()
