"""The proxy of drills: passes bytes on, and does to them what it is told."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from bench.tcp_proxy import TcpProxy


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server that says everything back; its port."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        while data := await reader.read(65_536):
            writer.write(data)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for writer in writers:
        writer.transport.abort()
    await server.wait_closed()


@pytest.fixture
async def proxy(echo: int) -> AsyncIterator[TcpProxy]:
    async with TcpProxy("127.0.0.1", echo) as proxy:
        yield proxy


@pytest.fixture
async def client(proxy: TcpProxy) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    yield reader, writer
    writer.transport.abort()


Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def test_bytes_pass_in_order(client: Ends) -> None:
    reader, writer = client
    sent = bytes(range(256)) * 2_000
    writer.write(sent)
    assert await reader.readexactly(len(sent)) == sent


async def test_answers_come_late_and_in_order(proxy: TcpProxy, client: Ends) -> None:
    reader, writer = client
    proxy.answer_delay_s = 0.2
    loop = asyncio.get_running_loop()
    began = loop.time()
    writer.write(b"one")
    assert await reader.readexactly(3) == b"one"
    assert loop.time() - began >= 0.2
    proxy.answer_delay_s = 0.0
    writer.write(b"two")
    assert await reader.readexactly(3) == b"two"


async def test_what_is_stalled_comes_when_it_flows_again(proxy: TcpProxy, client: Ends) -> None:
    reader, writer = client
    proxy.stall()
    writer.write(b"held")
    answer = asyncio.create_task(reader.readexactly(4))
    done, _ = await asyncio.wait({answer}, timeout=0.1)
    assert not done
    proxy.flow()
    assert await answer == b"held"


async def test_a_narrow_line_takes_its_time(proxy: TcpProxy, client: Ends) -> None:
    reader, writer = client
    proxy.bytes_per_s = 10_000
    loop = asyncio.get_running_loop()
    began = loop.time()
    for _ in range(3):
        writer.write(bytes(1_000))
        assert await reader.readexactly(1_000) == bytes(1_000)
    assert loop.time() - began >= 0.2


async def test_cut_connections_end_and_new_ones_are_taken(proxy: TcpProxy, client: Ends) -> None:
    reader, writer = client
    writer.write(b"x")
    await reader.readexactly(1)
    proxy.cut()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    again, writing = await asyncio.open_connection("127.0.0.1", proxy.port)
    writing.write(b"y")
    assert await again.readexactly(1) == b"y"
    writing.transport.abort()


async def test_while_it_refuses_connections_end_at_once(proxy: TcpProxy) -> None:
    proxy.refuse(True)
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await reader.readexactly(1)
    writer.transport.abort()


async def test_a_target_that_is_away_ends_the_connection(echo: int) -> None:
    async with TcpProxy("127.0.0.1", 9) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.transport.abort()
        while proxy.connections:
            await asyncio.sleep(0)


async def test_jitter_keeps_the_order(proxy: TcpProxy, client: Ends) -> None:
    reader, writer = client
    proxy.jitter_s = 0.02
    sent = b""
    for number in range(20):
        writer.write(bytes([number]))
        sent += bytes([number])
        await asyncio.sleep(0.002)
    assert await reader.readexactly(20) == sent


async def test_one_way_alone_may_stall() -> None:
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readexactly(3))
        writer.write(b"yes")
        await reader.read()
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with TcpProxy("127.0.0.1", server.sockets[0].getsockname()[1]) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        proxy.stall(asks=False)
        writer.write(b"hey")
        while not heard:
            await asyncio.sleep(0.001)
        answer = asyncio.create_task(reader.readexactly(3))
        done, _ = await asyncio.wait({answer}, timeout=0.05)
        assert not done
        proxy.flow()
        assert await answer == b"yes"
        writer.transport.abort()
    server.close()
    await server.wait_closed()


async def test_a_cut_falls_somewhere_in_what_the_server_says(proxy: TcpProxy, client: Ends) -> None:
    reader, writer = client
    proxy.cut_after = 1_000
    writer.write(bytes(5_000))
    try:
        got = len(await reader.read(-1))
    except ConnectionError:
        got = 0  # thrown away with the reset
    assert got < 1_000
    assert proxy.cuts == 1
    proxy.heal()
    again, writing = await asyncio.open_connection("127.0.0.1", proxy.port)
    writing.write(bytes(5_000))
    assert len(await again.readexactly(5_000)) == 5_000
    writing.transport.abort()


async def test_while_it_flaps_connections_come_and_go(proxy: TcpProxy) -> None:
    flapping = asyncio.create_task(proxy.flap(up_s=0.02, down_s=0.02))
    outcomes: set[bytes] = set()
    while len(outcomes) < 2:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        writer.write(b"x")
        try:
            outcomes.add(await reader.readexactly(1))
        except (ConnectionError, asyncio.IncompleteReadError):
            outcomes.add(b"")
        writer.transport.abort()
        await asyncio.sleep(0.005)
    flapping.cancel()
    await asyncio.wait({flapping})
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"y")
    assert await reader.readexactly(1) == b"y"
    writer.transport.abort()
