"""One HTTP request as the doors of ASGI hand it over: headers picked, body read within its bounds, query checked.

Knows ASGI's messages and no framework. Every refusal is a UserError; `Gone` says that the caller hung up.
"""

import difflib
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from push_api.models import MAX_PAGE
from push_api.validation import check_name
from push_core.errors import UserError

Scope = MutableMapping[str, Any]
Received = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Received]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_WANTED = frozenset({b"authorization", b"content-encoding", b"content-length", b"idempotency-key", b"traceparent"})
_LENIENT = frozenset({b"traceparent"})  # a broken one is as good as none (W3C Trace Context §3.2)


class Gone(Exception):
    """The caller hung up before its request was read: nobody is there to be answered, and nothing was done."""


def pick_headers(scope: Scope) -> dict[bytes, str]:
    """The headers that matter, by lower-case name. Raises UserError for one that is there twice or not UTF-8."""
    picked: dict[bytes, str] = {}
    for name, value in scope["headers"]:
        if name not in _WANTED:
            continue
        if name in picked and name not in _LENIENT:
            raise UserError(f"the header {name.decode()} is there twice", code="bad_request", field=name.decode())
        try:
            picked[name] = value.decode()
        except UnicodeDecodeError:
            if name not in _LENIENT:
                raise UserError(
                    f"the header {name.decode()} is not UTF-8", code="bad_request", field=name.decode()
                ) from None
    return picked


def idempotency_key(headers: dict[bytes, str]) -> str | None:
    key = headers.get(b"idempotency-key")
    return key if key is None else check_name(key, "Idempotency-Key")


async def read_body(receive: Receive, headers: dict[bytes, str], *, limit: int) -> bytes:
    """The whole body, refused as soon as it is known to be too large; the deadline is the caller's. Raises UserError (`too_large`,
    `bad_request`) or Gone."""
    coding = headers.get(b"content-encoding", "identity").strip().lower()
    if coding not in ("identity", ""):
        raise UserError("send the body without Content-Encoding", code="bad_request", field="content-encoding")
    length = headers.get(b"content-length", "")
    if length.isdecimal() and int(length) > limit:
        raise _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body", False):
            return b"".join((*parts, part)) if parts else part
        parts.append(part)


def bounded(receive: Receive, limit: int) -> Receive:
    """The same messages, for a reader that knows no limit: more than `limit` bytes of body raise UserError `too_large`."""
    size = 0

    async def counting() -> Received:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > limit:
            raise _too_large(limit)
        return message

    return counting


def _too_large(limit: int) -> UserError:
    return UserError(f"the body has more than {limit} bytes", code="too_large")


def query_of(scope: Scope, allowed: Sequence[str]) -> dict[str, str]:
    """The query's parameters. Raises UserError for one that the method doesn't have, one that is there twice, or a wrong encoding."""
    raw: bytes = scope["query_string"]
    if not raw:
        return {}
    try:
        pairs = parse_qsl(raw.decode(), keep_blank_values=True, errors="strict", max_num_fields=100)
    except ValueError:
        raise UserError("the query can't be read", code="bad_request") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in allowed:
            near = difflib.get_close_matches(name[:100], allowed, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"there is no parameter {name[:100]}{hint}", code="unknown_field", field=name[:100])
        if name in found:
            raise UserError(f"{name} is there twice", code="invalid", field=name)
        found[name] = value
    return found


def page_of(query: dict[str, str]) -> tuple[str | None, int]:
    """`after` and `limit` of a paged answer. Raises UserError."""
    after = query.get("after")
    if after is not None:
        check_name(after, "after")
    text = query.get("limit", str(MAX_PAGE))
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= MAX_PAGE):
        raise UserError(f"limit must be a whole number from 1 to {MAX_PAGE}", code="invalid", field="limit")
    return after, int(text)
