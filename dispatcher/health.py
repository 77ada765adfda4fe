"""/healthz (the process answers) and /readyz (it takes work) on a port of their own: the least HTTP/1.1 that a probe needs (RFC 9112), so that a
dispatcher carries no web framework."""

import asyncio
from collections.abc import Callable

from push_core.errors import ConfigError

REQUEST_BYTES = 4_096
TIMEOUT_S = 2.0


class HealthServer:
    """Port 0 picks a free one."""

    def __init__(self, host: str, port: int, ready: Callable[[], bool]) -> None:
        self._host = host
        self._port = port
        self._ready = ready
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> tuple[str, int]:
        if self._server is None:
            raise RuntimeError("not started")
        host, port = self._server.sockets[0].getsockname()[:2]
        return host, port

    async def start(self) -> None:
        """Raises ConfigError when the port can't be had."""
        try:
            self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=REQUEST_BYTES)
        except OSError as error:
            raise ConfigError(
                f"[dispatcher] health_port: cannot listen on {self._host}:{self._port} ({error.strerror or error})"
            ) from None

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(answer(head, self._ready()))
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a probe that does not ask properly gets no answer
        finally:
            writer.close()


def answer(head: bytes, ready: bool) -> bytes:
    """The whole response to a request's head. Pure."""
    parts = head.split(b"\r\n", 1)[0].split(b" ")
    method, path = (parts[0], parts[1].split(b"?", 1)[0]) if len(parts) == 3 else (b"", b"")
    if path not in (b"/healthz", b"/readyz"):
        status, body = "404 Not Found", b'{"error":{"code":"not_found"}}'
    elif method not in (b"GET", b"HEAD"):
        status, body = "405 Method Not Allowed", b'{"error":{"code":"method_not_allowed"}}'
    elif path == b"/readyz" and not ready:
        status, body = "503 Service Unavailable", b'{"ready":false}'
    else:
        status, body = "200 OK", b'{"ready":true}' if path == b"/readyz" else b'{"ok":true}'
    allow = "Allow: GET, HEAD\r\n" if status.startswith("405") else ""
    lines = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{allow}"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return lines.encode() + (b"" if method == b"HEAD" else body)
