"""A webhook's receiver for trying things out and for tests, on plain asyncio: `python -m tests.support.vendor_endpoint --port 9000`.

It is told to misbehave by the device token in the body: `delay:2:…` (answers after 2 s), `fail:…` (500), `busy:3:…` (503 with Retry-After: 3),
`reject:…` (400), `dead:…` (404 with `token_invalid`), `gone:…` (410), `garbage:…` (no HTTP at all), `drip:…` (a byte at a time, for ever),
`flood:…` (an answer without end), `redirect:URL` (307), `close:…` (hangs up). Anything else: 200.
"""

import argparse
import asyncio
import contextlib
import json
import ssl
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(slots=True)
class VendorEndpoint:
    """`calls` in order of arrival; at most `kept`."""

    tls: ssl.SSLContext | None = None
    kept: int = 10_000
    calls: list[Call] = field(default_factory=list)
    connections: int = 0
    _server: asyncio.Server | None = None
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> "VendorEndpoint":
        self._server = await asyncio.start_server(self._serve, host, port, ssl=self.tls)
        return self

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in set(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                while await self._one(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass  # `stop`; asyncio's server has nobody to tell
        finally:
            self._open.discard(task)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        call = Call(request.split(" ")[1], headers, body)
        if len(self.calls) < self.kept:
            self.calls.append(call)
        kind, _, rest = _token(body).partition(":")
        match kind:
            case "delay":
                await asyncio.sleep(float(rest.partition(":")[0]))
            case "garbage":
                writer.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
                return False
            case "close":
                return False
            case "drip":
                for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 100_000:
                    writer.write(bytes((byte,)))
                    await writer.drain()
                    await asyncio.sleep(0.01)
            case "flood":
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    writer.write(b"x" * 65_536)
                    await writer.drain()
        status, extra, answer = _answer(kind, rest)
        writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(answer)}\r\n{extra}\r\n".encode() + answer)
        await writer.drain()
        return True


def _token(body: bytes) -> str:
    try:
        token = json.loads(body).get("token", "")
    except (ValueError, AttributeError):
        return ""
    return token if isinstance(token, str) else ""


def _answer(kind: str, rest: str) -> tuple[str, str, bytes]:
    match kind:
        case "fail":
            return "500 Internal Server Error", "", b"<html>oops</html>"
        case "busy":
            return "503 Service Unavailable", f"Retry-After: {rest.partition(':')[0]}\r\n", b""
        case "reject":
            return "400 Bad Request", "", b'{"error":"bad_payload"}'
        case "dead":
            return "404 Not Found", "", b'{"error":"token_invalid"}'
        case "lost":
            return "404 Not Found", "", b"no such page"
        case "gone":
            return "410 Gone", "", b""
        case "redirect":
            return "307 Temporary Redirect", f"Location: {rest}\r\n", b""
        case _:
            return "200 OK", "", b'{"ok":true}'


async def _main(host: str, port: int) -> None:
    endpoint = await VendorEndpoint().start(host, port)
    print(f"listening on http://{host}:{endpoint.port}", flush=True)
    shown = 0
    while True:
        await asyncio.sleep(0.2)
        for call in endpoint.calls[shown:]:
            print(call.path, call.body.decode(errors="replace"), flush=True)
        shown = len(endpoint.calls)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(arguments.host, arguments.port))
