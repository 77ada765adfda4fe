"""The compiled callers: an open loop, one answer for each request, and what they were told is in the book."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from bench.compiled_load import CompiledLoad
from push_core.models import App
from tests.push_gateway.support import Node, new_id, offer, open_site

SHOP, SECRET = "shop", "a secret of thirty-two bytes or more"

Answer = Callable[[str, dict[str, Any]], Awaitable[bytes | None]]
"""From the request's path and body; None hangs up."""


def accepted(body: dict[str, Any], status: str = "202 Accepted") -> bytes:
    text = json.dumps(body).encode()
    return b"HTTP/1.1 %s\r\nContent-Type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (
        status.encode(),
        len(text),
        text,
    )


@asynccontextmanager
async def api(answer: Answer) -> AsyncIterator[str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                assert "Authorization: Bearer shop.key\r\n" in head
                length = int(head.partition("Content-Length: ")[2].partition("\r\n")[0])
                text = await answer(head.split(" ")[1], json.loads(await reader.readexactly(length)))
                if text is None:
                    break
                for start in range(0, len(text), 50):  # answers come in pieces too
                    writer.write(text[start : start + 50])
                    await asyncio.sleep(0)
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


@asynccontextmanager
async def load_on(answer: Callable[[Node], Answer], connections: int = 2) -> AsyncIterator[CompiledLoad]:
    async with open_site() as site:
        node = await site.node(window_max=256, window_default=256)
        await site.ports.devices.put_apps([App(name=SHOP, device_secrets=(SECRET,))])
        async with (
            api(answer(node)) as url,
            CompiledLoad(
                apis=[url],
                key="shop.key",
                gateways=[node.url],
                app=SHOP,
                device_secret=SECRET,
                devices=5,
                connections=connections,
            ) as load,
        ):
            await load.sign_in()
            yield load


def pushing(node: Node) -> Answer:
    """Accepts all, and pushes before it answers."""

    async def one(message: dict[str, Any]) -> dict[str, Any]:
        made = offer(message["target"]["device"], message_id=new_id(), app=SHOP)
        await node.deliver(made)
        return {"id": str(made.id), "state": "accepted"}

    async def answer(path: str, body: dict[str, Any]) -> bytes:
        if path == "/v1/messages":
            return accepted(await one(body))
        assert path == "/v1/messages:batch"
        return accepted({"results": [await one(message) for message in body["messages"]]})

    return answer


@pytest.mark.parametrize(("batch", "requests"), [(1, 40), (4, 10)])
async def test_what_is_accepted_comes_and_both_are_in_the_book(batch: int, requests: int) -> None:
    asked = 0

    def counting(node: Node) -> Answer:
        answer = pushing(node)

        async def count(path: str, body: dict[str, Any]) -> bytes | None:
            nonlocal asked
            asked += 1
            return await answer(path, body)

        return count

    async with load_on(counting) as load:
        begin, end = await load.offer(rate=400, seconds=0.1, batch=batch)
        assert await load.settle(10.0)
        log = await load.book()
    assert asked == requests
    assert end - begin == pytest.approx(0.1)
    assert (log.offered, len(log.due), log.unanswered, log.astray, dict(log.refused)) == (40, 40, 0, 0, {})
    assert set(log.received) == set(log.due) == set(log.frames) == set(log.shown)
    assert set(log.frames.values()) == set(log.shown.values()) == {1}
    due = sorted(set(log.due.values()))
    assert due == pytest.approx([begin + number * batch / 400 for number in range(requests)])
    assert all(log.received[message_id] >= at for message_id, at in log.due.items())
    assert set(log.target.values()) <= set(load.names)
    assert load.newest() in {0, *log.due}


async def test_answers_that_accept_nothing_are_told_apart() -> None:
    """Each message of a batch has its own answer; a request without one says nothing of what became of it, and the next goes on."""
    turns = iter(range(4))

    def refusing(node: Node) -> Answer:
        push = pushing(node)

        async def answer(path: str, body: dict[str, Any]) -> bytes | None:
            match next(turns):
                case 0:
                    return accepted({"error": {"code": "overloaded"}}, "503 Service Unavailable")
                case 1:
                    return accepted({"results": [{"id": None, "error": {"code": "quota", "retry": True}}, {"id": "7"}]})
                case 2:
                    await push(path, body)  # it comes, whatever the caller knows
                    return None
                case _:
                    return await push(path, body)

        return answer

    async with load_on(refusing, connections=1) as load:
        await load.offer(rate=400, seconds=0.02, batch=2)
        assert not await load.settle(0.5)  # 7 never comes
        log = await load.book()
    assert log.refused == {"http 503": 2, "quota": 1}
    assert (log.offered, log.unanswered, len(log.due)) == (8, 2, 3)
    assert [message_id for message_id in log.due if message_id not in log.received] == [7]
    assert len(log.received) == 4


async def test_the_schedule_waits_for_nobody() -> None:
    """An API that answers nothing holds up its two connections; what is due meanwhile is late by the time it goes out, and counted so."""
    gate = asyncio.Event()

    def slow(node: Node) -> Answer:
        push = pushing(node)

        async def answer(path: str, body: dict[str, Any]) -> bytes | None:
            await gate.wait()
            return await push(path, body)

        return answer

    async with load_on(slow) as load:
        begin, _ = await load.offer(rate=100, seconds=0.1, batch=1)
        waiting = (await load.book()).offered
        gate.set()
        assert await load.settle(10.0)
        log = await load.book()
    assert waiting == 10
    assert sorted(log.due.values()) == pytest.approx([begin + number / 100 for number in range(10)])
    assert min(log.received.values()) >= max(log.due.values())


async def test_start_over_forgets_what_was_noted() -> None:
    async with load_on(pushing) as load:
        await load.offer(rate=200, seconds=0.05, batch=1)
        assert await load.settle(10.0)
        before = await load.book()
        await load.start_over()
        await load.offer(rate=200, seconds=0.05, batch=1, seed=2)
        assert await load.settle(10.0)
        after = await load.book()
    assert (before.offered, after.offered) == (10, 10)
    assert not set(before.due) & set(after.due)
    assert len(after.received) == 10
