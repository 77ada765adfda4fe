"""The compiled devices on a real gateway: they sign in, ack once, tell what they saw, and say why they could not."""

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic_ns

import pytest

from bench.client.process import ClientCounters, ClientFailed, LoadClient, records
from push_core.rpc.port import ReceiptKind, Taking
from sdk_proto.wire import frames as f
from tests.push_gateway.support import APP, Node, new_id, offer, open_site, token
from tests.sdk_proto.python.fake_gateway import fake_gateway

CODECS = pytest.mark.parametrize("codec", ["json", "proto"])


@asynccontextmanager
async def gateway_and_client() -> AsyncIterator[tuple[Node, LoadClient]]:
    async with open_site() as site, LoadClient.start() as client:
        yield await site.node(), client


async def until(client: LoadClient, **wanted: int) -> ClientCounters:
    while True:
        counters = await client.counters()
        if all(getattr(counters, name) == count for name, count in wanted.items()):
            return counters
        await asyncio.sleep(0.01)


@CODECS
async def test_pushes_are_acked_and_noted(codec: str, tmp_path: Path) -> None:
    names = ["d-0", 'd "1"', "d-2"]
    async with gateway_and_client() as (node, client):
        entered = await client.sign_in([(APP, name, token(name)) for name in names], [node.url], codec=codec)
        assert (entered.signed_in, entered.failed) == (3, 0)
        await client.log(seen=tmp_path / "seen")
        before = monotonic_ns()
        single, spread = offer(names[1]), offer(*names)
        assert set(await node.deliver(single, spread)) == {Taking.ACCEPTED}
        counters = await until(client, acked=4)
        await client.flush()
        for message_id in (single.id, spread.id):
            await node.receipts.of(message_id, ReceiptKind.RECEIVED)
        noted = list(records(tmp_path / "seen"))
        await client.close()
    assert (counters.pushes, counters.shown, counters.repeats) == (4, 4, 0)
    assert sorted((record.id, record.device) for record in noted) == sorted(
        [(single.id, 1), *((spread.id, place) for place in range(3))]
    )
    assert all(record.is_new and not record.again and before < record.ns < monotonic_ns() for record in noted)


@CODECS
async def test_a_repeat_is_acked_again_and_not_shown_again(codec: str, tmp_path: Path) -> None:
    async with fake_gateway() as gateway, LoadClient.start() as client:
        entering = asyncio.ensure_future(client.sign_in([("courier", "d-1", "token")], [gateway.url], codec=codec))
        session = await gateway.session()
        assert (session.hello.app, session.hello.device, session.hello.token) == ("courier", "d-1", "token")
        await entering
        await client.log(seen=tmp_path / "seen")
        await session.send(*[f.Push(id=number, title="x" * 300) for number in range(1, 401)])
        assert await session.next_acks(400) == [(number, "received") for number in range(1, 401)]
        await session.push(7, again=True)
        assert await session.acks.get() == (7, "received")
        await session.send(f.Recall(id=500))
        await session.push(500)
        assert await session.acks.get() == (500, "received")
        counters = await client.counters()
        await client.flush()
        last = list(records(tmp_path / "seen"))[-2:]
    assert (counters.pushes, counters.shown, counters.repeats, counters.again, counters.recalls) == (402, 400, 2, 1, 1)
    assert [(record.id, record.is_new, record.again) for record in last] == [(7, False, True), (500, False, False)]


async def test_a_refused_token_is_a_failure_with_its_code() -> None:
    async with gateway_and_client() as (node, client):
        devices = [(APP, "d-0", token("d-0")), (APP, "d-1", token("another"))]
        entered = await client.sign_in(devices, [node.url], at_once=1)
    assert (entered.signed_in, entered.failed) == (1, 1)
    assert "d-1" in entered.why
    assert "4201" in entered.why


async def test_devices_that_nobody_answers_fail_and_the_others_go_on() -> None:
    async with gateway_and_client() as (node, client):
        silent = socket.create_server(("127.0.0.1", 0))  # the kernel takes connections for it
        port = silent.getsockname()[1]
        devices = [(APP, f"d-{number}", token(f"d-{number}")) for number in range(3)]
        entered = await client.sign_in(devices, [node.url, f"127.0.0.1:{port}"], timeout_s=0.5)
        silent.close()
    assert (entered.signed_in, entered.failed) == (2, 1)
    assert "no welcome in time" in entered.why


async def test_the_end_of_a_connection_is_counted_by_its_code() -> None:
    async with gateway_and_client() as (node, client):
        await client.sign_in([(APP, "d-0", token("d-0"))], [node.url])
        await node.gateway.stop(1.0)
        counters = await until(client, live=0)
    assert counters.ended == {"4000": 1}


async def test_progress_tells_how_many_acks_were_sent() -> None:
    out, into = os.pipe()
    try:
        async with open_site() as site, LoadClient.start(pass_fds=[into]) as client:
            node = await site.node()
            await client.sign_in([(APP, "d-0", token("d-0"))], [node.url])
            await client.progress(into, every=1_000)
            await node.deliver(*(offer("d-0", message_id=new_id()) for _ in range(3)))
            await until(client, acked=3)
            await client.start_over()  # progress goes on
            await node.deliver(offer("d-0"))
            await until(client, acked=1)
            told = struct.unpack("=Q", (await asyncio.to_thread(os.read, out, 4_096))[-8:])
    finally:
        os.close(out)
        os.close(into)
    assert told == (4,)


async def test_a_client_that_can_not_go_on_says_why() -> None:
    async with LoadClient.start() as client:
        with pytest.raises(ClientFailed, match="gateways: not host:port"):
            await client.sign_in([], ["nowhere"])
