"""A thin shell around one WebSocket; the only file of this SDK that knows the `websockets` library. Knows nothing of frames:
messages in, messages out, and silence once it was let go.
"""

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass
from typing import Protocol

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

MAX_MESSAGE = 1 << 20  # bytes; a gateway joins pushes up to far less
MAX_UNSENT = 1_024  # messages; a server that doesn't read is a connection lost
CLOSE_S = 2.0  # a close handshake may hang for minutes; nobody waits for it
NORMAL = 1_000


class Handlers(Protocol):
    def on_open(self) -> None: ...

    def on_message(self, message: bytes) -> None: ...

    def on_close(self, code: int | None, reason: str) -> None:
        """Once, and never after `Transport.close`. `code` is None when the connection was lost or never came about."""


@dataclass(frozen=True, slots=True)
class Target:
    url: str
    subprotocol: str
    binary: bool
    user_agent: str
    tls: ssl.SSLContext | None = None


class Transport:
    """Dials at once. The deadline for that is the caller's: it lets go when it has waited long enough."""

    def __init__(self, target: Target, handlers: Handlers) -> None:
        self._target = target
        self._handlers: Handlers | None = handlers
        self._connection: ClientConnection | None = None
        self._unsent: deque[bytes] = deque()
        self._sender: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._task = asyncio.get_running_loop().create_task(self._run(), name="taco-transport")

    def send(self, message: bytes) -> None:
        """Queue a message; one that can't be sent any more is dropped, the close is on its way."""
        if self._handlers is None or self._connection is None:
            return
        if len(self._unsent) >= MAX_UNSENT:
            self._end(None, "the server does not read")
            self._task.cancel()
            return
        self._unsent.append(message)
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send_all(self._connection), name="taco-send")

    def close(self) -> None:
        """Let go: send what is queued, close, and say nothing any more."""
        self._handlers = None
        if self._connection is None:
            self._task.cancel()
            return
        if self._patience is None and not self._task.done():
            self._patience = asyncio.get_running_loop().call_later(CLOSE_S, self._connection.transport.abort)
        if self._sender is None:
            self._sender = asyncio.get_running_loop().create_task(self._send_all(self._connection), name="taco-send")

    async def wait_closed(self) -> None:
        """Return when nothing of it runs any more: soon after `close`."""
        await asyncio.gather(self._task, *([self._sender] if self._sender else []), return_exceptions=True)

    async def _run(self) -> None:
        target = self._target
        try:
            connection = await connect(
                target.url,
                subprotocols=[Subprotocol(target.subprotocol)],
                ssl=target.tls if target.url.startswith("wss:") else None,
                compression=None,
                open_timeout=None,
                ping_interval=None,  # heartbeats are frames of ours, with the server's interval
                close_timeout=CLOSE_S,
                max_size=MAX_MESSAGE,
                user_agent_header=target.user_agent,
            )
        except (OSError, EOFError, ValueError, WebSocketException) as error:  # ValueError: a host that can't be a name
            self._end(None, f"no connection: {error}")
            return
        try:
            async with connection:
                await self._serve(connection)
        finally:
            self._end(None, "the connection ended")
            if self._patience is not None:
                self._patience.cancel()

    async def _serve(self, connection: ClientConnection) -> None:
        handlers = self._handlers
        if handlers is None:
            return
        if connection.subprotocol != self._target.subprotocol:
            # A server that picked none is not ours: a proxy's page, a portal.
            self._end(None, f"the server does not speak {self._target.subprotocol}")
            return
        self._connection = connection
        handlers.on_open()
        try:
            while self._handlers is not None:
                message = await connection.recv()
                if isinstance(message, str) is self._target.binary:
                    self._end(None, "a WebSocket message of the wrong kind")
                elif self._handlers is not None:
                    handlers.on_message(message.encode() if isinstance(message, str) else message)
        except ConnectionClosed as closed:
            frame = closed.rcvd
            self._end(frame.code if frame else None, frame.reason if frame else "the connection was lost")

    async def _send_all(self, connection: ClientConnection) -> None:
        try:
            while self._unsent:
                await connection.send(self._unsent.popleft(), text=not self._target.binary)
            if self._handlers is None:
                await connection.close(NORMAL)
        except ConnectionClosed:
            pass  # the reader has heard of it too, and says why
        finally:
            self._sender = None

    def _end(self, code: int | None, reason: str) -> None:
        handlers, self._handlers = self._handlers, None
        if handlers is not None:
            handlers.on_close(code, reason)
