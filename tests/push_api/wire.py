"""Bytes to and from the push API's port, as they are."""

import asyncio
import contextlib

import httpx

from push_api.app import PushApi

HEAD = b"POST /v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer demo.secret\r\n"


class Wire:
    """A bare connection: what httpx is too polite for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(head[0].split()[1]), headers, body

    async def closed(self) -> bytes:
        """What still comes until the server closes."""
        return await self.reader.read()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()


async def wire_to(api: PushApi) -> Wire:
    url = httpx.URL(api.url)
    return Wire(*await asyncio.open_connection(url.host, url.port))
