"""The least HTTP/1.1 (RFC 9112) that probes, scrapers and curl need: one request a connection, no body taken. Pure: bytes in, bytes out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec

JSON = "application/json"
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_HEAD_END = b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Request:
    """Header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)


def parse(head: bytes) -> Request | None:
    """A request's head, its empty line included or not; None for what is not HTTP."""
    lines = head.removesuffix(_HEAD_END).decode("latin-1").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1.") or not parts[1].startswith("/"):
        return None
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or not name or name != name.strip():
            return None
        headers[name.lower()] = value.strip()
    path, _, query = parts[1].partition("?")
    return Request(parts[0], unquote(path), dict(parse_qsl(query, keep_blank_values=True)), headers)


def render(answer: Answer, *, head_only: bool = False) -> bytes:
    lines = [
        f"HTTP/1.1 {answer.status} {_REASONS.get(answer.status, 'Error')}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        "Cache-Control: no-store",
        "Connection: close",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + _HEAD_END + (b"" if head_only else answer.body)


def ok(value: Any) -> Answer:
    return Answer(200, msgspec.json.encode(value))


def refusal(status: int, code: str, message: str, **headers: str) -> Answer:
    return Answer(status, msgspec.json.encode({"error": {"code": code, "message": message}}), headers=headers)
