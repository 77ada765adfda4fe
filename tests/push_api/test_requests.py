import asyncio
from typing import Any

import pytest

from push_api.requests import Gone, bounded, idempotency_key, page_of, pick_headers, query_of, read_body
from push_core.errors import UserError


def receiver(*messages: dict[str, Any]) -> Any:
    left = list(messages)

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    receive.left = left  # type: ignore[attr-defined]
    return receive


def part(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def body_of(*messages: dict[str, Any], limit: int = 10, **headers: str) -> bytes:
    picked = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return await read_body(receiver(*messages), picked, limit=limit)


async def test_a_body_is_put_together() -> None:
    assert await body_of(part(b"abc"), part(b""), part(b"def", more=False)) == b"abcdef"
    assert await body_of(part(b"", more=False)) == b""
    assert await body_of(part(b"0123456789", more=False)) == b"0123456789"


async def test_a_length_above_the_limit_is_refused_before_a_byte_is_read() -> None:
    receive = receiver(part(b"x"))
    with pytest.raises(UserError) as refused:
        await read_body(receive, {b"content-length": "11"}, limit=10)
    assert refused.value.code == "too_large"
    assert len(receive.left) == 1


async def test_a_body_without_a_length_is_refused_as_soon_as_it_is_too_large() -> None:
    receive = receiver(part(b"012345"), part(b"678910"), part(b"never read"))
    with pytest.raises(UserError) as refused:
        await read_body(receive, {}, limit=10)
    assert refused.value.code == "too_large"
    assert len(receive.left) == 1


async def test_a_reader_that_knows_no_limit_is_given_one() -> None:
    receive = bounded(receiver(part(b"12345"), part(b"67890"), part(b"x")), 10)
    assert (await receive())["body"] == b"12345"
    assert (await receive())["body"] == b"67890"
    with pytest.raises(UserError) as refused:
        await receive()
    assert refused.value.code == "too_large"


async def test_a_caller_that_hangs_up_is_gone() -> None:
    with pytest.raises(Gone):
        await body_of(part(b"abc"), {"type": "http.disconnect"})


@pytest.mark.parametrize("coding", ["gzip", "br", "identity, gzip", "x"])
async def test_a_coded_body_is_refused(coding: str) -> None:
    with pytest.raises(UserError) as refused:
        await body_of(part(b"{}", more=False), content_encoding=coding)
    assert (refused.value.code, refused.value.field) == ("bad_request", "content-encoding")
    assert await body_of(part(b"{}", more=False), content_encoding="Identity") == b"{}"


def scope(*headers: tuple[bytes, bytes], query: bytes = b"") -> dict[str, Any]:
    return {"headers": list(headers), "query_string": query}


def test_only_headers_that_matter_are_picked() -> None:
    picked = pick_headers(
        scope((b"host", b"\xff"), (b"authorization", b"Bearer x"), (b"cookie", b"a"), (b"cookie", b"b"))
    )
    assert picked == {b"authorization": "Bearer x"}


def test_a_key_may_be_any_utf8() -> None:
    assert idempotency_key(pick_headers(scope((b"idempotency-key", "ä 1".encode())))) == "ä 1"
    assert idempotency_key({}) is None


def test_a_query_is_read_strictly() -> None:
    assert query_of(scope(), ()) == {}
    assert query_of(scope(query=b"after=a%2Fb+c&limit=5"), ("after", "limit")) == {"after": "a/b c", "limit": "5"}
    for bad in (b"x=1", b"limit=1&limit=1", b"limit=%ff", b"limit=\xff", b"limit"):
        with pytest.raises(UserError):
            page_of(query_of(scope(query=bad), ("after", "limit")))


def test_a_page_has_100_deliveries_if_nothing_else_is_asked() -> None:
    assert page_of({}) == (None, 100)
    assert page_of({"after": "d", "limit": "007"}) == ("d", 7)
