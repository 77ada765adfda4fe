"""Answers that are written in one piece, and those that uvicorn writes in its own way, over real sockets."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from push_api.http import HttpServer
from push_api.http_cycle import Cycle
from push_api.settings import ApiSettings
from push_core.limits.addresses import AddressCounts
from push_core.metrics.null import NullMetrics
from tests.push_api.wire import Wire

Send = Callable[[dict[str, Any]], Awaitable[None]]
REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@asynccontextmanager
async def answering(answer: Callable[[Send], Awaitable[None]]) -> AsyncIterator[Wire]:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        del scope
        await receive()
        await answer(send)

    settings = ApiSettings(port=0, grpc_port=-1, keep_alive_s=0.2)
    server = HttpServer(app, settings, AddressCounts(0, "connections", NullMetrics()))
    await server.start()
    host, _, port = server.url.removeprefix("http://").partition(":")
    wire = Wire(*await asyncio.open_connection(host, int(port)))
    try:
        yield wire
    finally:
        await wire.close()
        await server.stop(1.0)


def head(*headers: tuple[bytes, bytes], status: int = 200) -> dict[str, Any]:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


@pytest.fixture
def written_whole(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """For each answer whether it was."""
    seen: list[bool] = []
    really = Cycle._send_whole

    def noting(cycle: Cycle, *given: Any) -> bool:
        seen.append(really(cycle, *given))
        return seen[-1]

    monkeypatch.setattr(Cycle, "_send_whole", noting)
    return seen


async def test_an_answer_of_known_length_is_written_whole(written_whole: list[bool]) -> None:
    async def answer(send: Send) -> None:
        await send(head((b"content-length", b"2"), (b"x-one", b"1")))
        await send(body(b"ok"))

    async with answering(answer) as wire:
        for _ in range(2):
            await wire.send(REQUEST)
            status, headers, data = await wire.answer()
            assert (status, headers["x-one"], data) == (200, "1", b"ok")
            assert "date" in headers
    assert written_whole == [True, True]


async def test_an_answer_in_parts_is_left_to_uvicorn(written_whole: list[bool]) -> None:
    async def answer(send: Send) -> None:
        await send(head((b"content-length", b"4")))
        await send(body(b"ab", more=True))
        await send(body(b"cd"))

    async with answering(answer) as wire:
        await wire.send(REQUEST)
        assert (await wire.answer())[2] == b"abcd"
    assert written_whole == [False]


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"3")],  # not its length
        [(b"content-length", b"2"), (b"x", b"1\r\nset-cookie: a=b")],
        [(b"content-length", b"2"), (b"x", b"1\nset-cookie: a=b")],
    ],
)
async def test_a_head_that_would_say_something_else_never_leaves(headers: list[tuple[bytes, bytes]]) -> None:
    async def answer(send: Send) -> None:
        await send(head(*headers))
        await send(body(b"ok"))

    async with answering(answer) as wire:
        await wire.send(REQUEST)
        assert b"set-cookie" not in await wire.closed()


async def test_an_answer_that_fails_before_its_body_is_a_fault_of_the_server() -> None:
    async def answer(send: Send) -> None:
        await send(head((b"content-length", b"2")))
        raise RuntimeError("no body after all")

    async with answering(answer) as wire:
        await wire.send(REQUEST)
        assert (await wire.answer())[0] == 500


async def test_a_connection_that_asks_for_nothing_more_is_closed_after_its_time() -> None:
    async def answer(send: Send) -> None:
        await send(head((b"content-length", b"2")))
        await send(body(b"ok"))

    async with answering(answer) as wire:
        for _ in range(3):  # each answer begins the time anew
            await asyncio.sleep(0.12)
            await wire.send(REQUEST)
            assert (await wire.answer())[0] == 200
        began = asyncio.get_running_loop().time()
        assert await wire.closed() == b""
        assert asyncio.get_running_loop().time() - began > 0.1
