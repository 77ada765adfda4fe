"""The least HTTP that an admin port needs."""

import pytest

from ops.admin.http import Answer, ok, parse, refusal, render


def test_a_request_is_read_with_its_query_and_headers() -> None:
    request = parse(b"GET /debug/tasks?limit=5&x= HTTP/1.1\r\nHost: a\r\nTaco-Cluster-Key:  secret \r\n\r\n")
    assert request is not None
    assert (request.method, request.path, request.query) == ("GET", "/debug/tasks", {"limit": "5", "x": ""})
    assert request.headers["taco-cluster-key"] == "secret"


@pytest.mark.parametrize(
    "head",
    [
        b"garbage\r\n\r\n",
        b"\r\n\r\n",
        b"GET / HTTP/2\r\n\r\n",
        b"GET http://elsewhere/ HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n folded: x\r\n\r\n",
        b"\xff\xfe / HTTP/1.1 x\r\n\r\n",
    ],
)
def test_what_is_not_http_is_no_request(head: bytes) -> None:
    assert parse(head) is None


def test_an_answer_says_how_long_it_is_and_that_it_is_the_last() -> None:
    head, _, body = render(ok({"ok": True})).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length: 11" in head
    assert b"Connection: close" in head
    assert body == b'{"ok":true}'


def test_head_has_no_body() -> None:
    assert render(Answer(200, b"long"), head_only=True).endswith(b"\r\n\r\n")


def test_a_refusal_says_why() -> None:
    text = render(refusal(405, "method_not_allowed", "no", Allow="GET"))
    assert b"405 Method Not Allowed" in text
    assert b"Allow: GET" in text
    assert b'"message":"no"' in text
