"""Asking another process' admin port, from the loop."""

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec

from ops.admin.server import KEY_HEADER
from push_core.errors import Unavailable

ANSWER_BYTES = 65_536


async def ask(
    host: str, port: int, path: str, *, method: str = "GET", query: Mapping[str, str] | None = None, key: str = ""
) -> tuple[int, Any]:
    """Status and value. Raises Unavailable when there is no answer, or none that can be read; the caller bounds the time."""
    target = f"{path}?{urlencode(query)}" if query else path
    lines = [
        f"{method} {target} HTTP/1.1",
        "Host: admin",
        "Connection: close",
        *([f"{KEY_HEADER}: {key}"] if key else []),
    ]
    try:
        reader, writer = await asyncio.open_connection(_reached(host), port)
        try:
            writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
            head, _, body = (await _up_to_its_end(reader)).partition(b"\r\n\r\n")
        finally:
            writer.close()
    except OSError as error:
        raise Unavailable(f"its admin port does not answer ({error.strerror or error})") from None
    try:
        return int(head.split(b" ", 2)[1]), msgspec.json.decode(body)
    except (IndexError, ValueError, msgspec.DecodeError):
        raise Unavailable("its admin port answered with what can't be read") from None


async def _up_to_its_end(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readexactly(ANSWER_BYTES)
    except asyncio.IncompleteReadError as ended:
        return ended.partial


def _reached(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - where it is asked, not where it listens
