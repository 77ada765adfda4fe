"""The lean caller: one answer for each request, and no answer is never taken for another's."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from bench.lean_http import HttpFailed, LeanHttp

Answer = Callable[[bytes], bytes]


@asynccontextmanager
async def server(answer: Answer, pieces: int = 1) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                text = answer(head.partition(b"\r\n")[0] + b"|" + await reader.readexactly(length))
                if not text:
                    break
                size = -(-len(text) // pieces)
                for start in range(0, len(text), size):
                    writer.write(text[start : start + size])
                    await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        await asyncio.sleep(0)


def echo(request: bytes) -> bytes:
    return b"HTTP/1.1 202 Accepted\r\nContent-Length: %d\r\n\r\n%s" % (len(request), request)


@pytest.mark.parametrize("pieces", [1, 7])
async def test_answers_come_back_whole_however_they_arrive(pieces: int) -> None:
    async with server(echo, pieces) as url, LeanHttp(url, "k", connections=2) as http:
        answers = await asyncio.gather(*(http.request("POST", f"/{number}", b"x" * number) for number in range(20)))
    assert [status for status, _ in answers] == [202] * 20
    assert [body for _, body in answers] == [b"POST /%d HTTP/1.1|%s" % (number, b"x" * number) for number in range(20)]


async def test_an_answer_without_a_body_is_an_answer() -> None:
    async with server(lambda _: b"HTTP/1.1 204 No Content\r\n\r\n") as url, LeanHttp(url, "k") as http:
        assert await http.request("DELETE", "/") == (204, b"")


async def test_a_connection_that_breaks_is_no_answer_and_the_next_request_opens_another() -> None:
    answers = iter([b"", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"])
    async with server(lambda _: next(answers)) as url, LeanHttp(url, "k", connections=1) as http:
        with pytest.raises(HttpFailed, match="POST /"):
            await http.request("POST", "/")
        assert await http.request("POST", "/") == (200, b"")


async def test_a_server_that_is_not_there_is_no_answer() -> None:
    async with server(echo) as url:
        pass
    async with LeanHttp(url, "k") as http:
        with pytest.raises(HttpFailed):
            await http.request("GET", "/")
