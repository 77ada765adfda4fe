"""An HTTP/1.1 caller of the bare minimum, so that a load client takes little of the machine that it shares with what it measures.

Keeps a few connections; one request at a time on each. Speaks what the push API speaks (JSON, Content-Length) and refuses the rest.
"""

import asyncio
from types import TracebackType
from typing import Self, cast
from urllib.parse import urlsplit

_HEAD_END = b"\r\n\r\n"
_LENGTH = b"content-length:"


class HttpFailed(ConnectionError):
    """There was no answer: whether the request was handled is unknown."""


class LeanHttp:
    """`async with LeanHttp(url, key, connections=8) as http: status, body = await http.request("POST", "/v1/messages", b"{}")`

    Requests beyond the number of connections wait for a free one, in order. A connection that broke is opened again by the next request.
    """

    def __init__(self, url: str, key: str, *, connections: int = 8, timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        self._address, self._port = parts.hostname or "", parts.port or 80
        self._head = f" HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: ".encode()
        self._free: asyncio.LifoQueue[_Connection | None] = asyncio.LifoQueue()
        for _ in range(connections):
            self._free.put_nowait(None)
        self._timeout_s = timeout_s

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def request(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """The answer's status and body. Raises HttpFailed without one."""
        request = b"".join((method.encode(), b" ", path.encode(), self._head, str(len(body)).encode(), _HEAD_END, body))
        connection = await self._free.get()
        try:
            async with asyncio.timeout(self._timeout_s):
                if connection is None or connection.is_closed:
                    connection = await self._connect()
                return await connection.ask(request)
        except (OSError, TimeoutError, ValueError) as error:
            if connection is not None:
                connection.abort()
            raise HttpFailed(f"{method} {path}: {error or type(error).__name__}") from error
        except asyncio.CancelledError:
            if connection is not None:
                connection.abort()  # its answer would be taken for the next request's
            raise
        finally:
            self._free.put_nowait(connection)

    async def close(self) -> None:
        """Close the connections that are not in use."""
        while not self._free.empty():
            connection = self._free.get_nowait()
            if connection is not None:
                connection.abort()
        await asyncio.sleep(0)

    async def _connect(self) -> "_Connection":
        _, connection = await asyncio.get_running_loop().create_connection(_Connection, self._address, self._port)
        return connection


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.is_closed = False
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are none by class

    def ask(self, request: bytes) -> "asyncio.Future[tuple[int, bytes]]":
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(_HEAD_END)
        if end < 0:
            return
        head = self._buffer[:end].lower()
        at = head.find(_LENGTH)
        # An answer without a length has no body here (204).
        length = int(head[at + len(_LENGTH) :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        start = end + len(_HEAD_END)
        if len(self._buffer) < start + length:
            return
        body, self._buffer = self._buffer[start : start + length], self._buffer[start + length :]
        if b"\r\nconnection: close" in head:
            self.is_closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the connection was closed"))

    def abort(self) -> None:
        self.is_closed = True
        if self._transport is not None:
            self._transport.abort()
