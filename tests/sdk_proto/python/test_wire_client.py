"""The devices that tests and benchmarks are made with."""

import asyncio

import pytest

from sdk_proto.python.session import Limits
from sdk_proto.python.wire_client import Device, Fleet, SignInRefused
from sdk_proto.wire import frames as f
from sdk_proto.wire.codec import Codec
from sdk_proto.wire.subprotocols import JSON, PROTO
from tests.sdk_proto.python.fake_gateway import fake_gateway

CODECS = pytest.mark.parametrize("codec", [JSON, PROTO], ids=lambda codec: codec.subprotocol)


@CODECS
async def test_a_device_signs_in_and_acks_what_it_gets(codec: Codec) -> None:
    async with fake_gateway() as gateway:
        fleet = Fleet(gateway.url, codec=codec)
        await fleet.connect("courier", "d-1", "token", window=8)
        session = await gateway.session()
        assert (session.hello.app, session.hello.device, session.hello.window) == ("courier", "d-1", 8)
        await session.send(*[f.Push(id=number, title="x" * 300) for number in range(1, 401)])
        assert await session.next_acks(400) == [(number, "received") for number in range(1, 401)]
        assert (fleet.counters.pushes, fleet.counters.shown, fleet.counters.acked) == (400, 400, 400)
        await fleet.close()


async def test_a_device_can_play_dead_and_tells_repeats_apart() -> None:
    got: list[tuple[int, bool]] = []

    def on_push(device: Device, push: f.Push, is_new: bool) -> bool:
        got.append((push.id, is_new))
        return push.id != 1

    async with fake_gateway() as gateway:
        fleet = Fleet(gateway.url, on_push=on_push)
        device = await fleet.connect("courier", "d-1", "token")
        first = await gateway.session()
        await first.push(1)
        await first.push(2)
        assert await first.acks.get() == (2, "received")
        device.abort()
        await device.connect()
        second = await gateway.session()
        assert second.hello.attempt == 2
        assert second.hello.install == first.hello.install
        await second.push(1, again=True)
        await second.push(2, again=True)
        assert await second.acks.get() == (2, "received")
        assert got == [(1, True), (2, True), (1, True), (2, False)]
        assert (fleet.counters.repeats, fleet.counters.again, fleet.counters.signed_in) == (1, 2, 2)
        device.ack(1, 2, status="displayed")
        assert await second.next_acks(2) == [(1, "displayed"), (2, "displayed")]
        await fleet.close()


@pytest.mark.parametrize("code", [4201, 4300, 4003])
async def test_a_refusal_names_its_close_code(code: int) -> None:
    async with fake_gateway() as gateway:
        gateway.answer = lambda hello: f.Bye(code=code, reason="no")
        fleet = Fleet(gateway.url)
        with pytest.raises(SignInRefused, match="no") as refused:
            await fleet.connect("courier", "d-1", "token")
        assert refused.value.code == code
        assert fleet.counters.ended == {code: 1}
        await fleet.close()


async def test_the_end_of_a_connection_is_seen() -> None:
    async with fake_gateway() as gateway:
        fleet = Fleet(gateway.url)
        device = await fleet.connect("courier", "d-1", "token")
        await (await gateway.session()).bye(4100, "draining")
        assert await device.ended() == (4100, "draining")
        assert not device.is_online
        await device.connect()
        await (await gateway.session()).cut()
        assert (await device.ended())[0] is None
        await device.connect()
        await (await gateway.session()).connection.close(4001, "silent")
        assert await device.ended() == (4001, "silent")
        await fleet.close()


async def test_a_ping_gets_its_pong_and_a_dead_server_is_given_up() -> None:
    async with fake_gateway() as gateway:
        fleet = Fleet(gateway.url, limits=Limits(pong_s=10))
        device = await fleet.connect("courier", "d-1", "token")
        session = await gateway.session()
        device.ping()
        assert await session.frames.get() == f.Ping(240)
        now = asyncio.get_running_loop().time()
        await session.push(1)
        await session.acks.get()
        device.tick(now + 240)
        device.tick(now + 251)
        assert await device.ended() == (None, "no answer to a ping")
        await fleet.close()


async def test_no_welcome_in_time_is_a_timeout() -> None:
    async with fake_gateway() as gateway:
        gateway.answer = lambda hello: None
        fleet = Fleet(gateway.url, limits=Limits(connect_s=0.05, welcome_s=0.05))
        with pytest.raises(TimeoutError):
            await fleet.connect("courier", "d-1", "token")
        await fleet.close()


async def test_a_server_that_is_no_gateway_is_refused() -> None:
    async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(page, "127.0.0.1", 0)
    async with server:
        fleet = Fleet(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1/connect")
        with pytest.raises(SignInRefused, match="400 Bad Request"):
            await fleet.connect("courier", "d-1", "token")
        await fleet.close()
