"""The way to one Redis, through what happens to it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.tcp_proxy import TcpProxy
from ops.cluster.servers import RedisServer
from push_core.dsn import Dsn
from push_core.errors import DeadlineExceeded, Overloaded, Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.redis.client import RedisClient, Script
from push_core.redis.place import SCHEMES
from push_core.redis.server import WAITING_PER_CONNECTION
from tests.support.redis_time import direct
from tests.support.servers import require_server

ADD = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
PING = (0, (b"PING",))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    """One that a test may kill."""
    require_server(RedisServer)
    with RedisServer(tmp_path / "redis") as running:
        assert isinstance(running, RedisServer)
        yield running


def client_of(dsn: str, metrics: MemoryMetrics | None = None) -> RedisClient:
    return RedisClient.open(Dsn.parse(dsn, "[stores] presence", SCHEMES), (ADD,), metrics)[0]


@pytest.fixture
async def client(server: RedisServer) -> AsyncIterator[RedisClient]:
    client = client_of(f"{server.dsn}?timeout_ms=2000&connections=2")
    yield client
    await client.close()


def connections(server: RedisServer) -> int:
    """Of others than who asks."""
    with direct(server.dsn) as asking:
        return int(asking.info("clients")["connected_clients"]) - 1


async def test_several_commands_are_answered_in_order_in_one_round_trip(client: RedisClient) -> None:
    answers = await client.call(
        (0, (b"SET", b"a", 1)), (0, ADD.on([b"a"], [4])), (0, (b"GET", b"c")), (0, (b"GET", b"b"))
    )
    assert answers == [b"OK", 5, None, None]


async def test_a_server_that_forgot_the_scripts_is_told_them_again(client: RedisClient, server: RedisServer) -> None:
    for expected in (2, 4):
        with direct(server.dsn) as other:
            other.script_flush()
        assert await client.call(PING, (0, ADD.on([b"a"], [2]))) == [b"PONG", expected]


async def test_it_opens_without_a_server_and_finds_it_when_it_comes(tmp_path: Path) -> None:
    require_server(RedisServer)
    server = RedisServer(tmp_path / "redis")
    client = client_of(server.dsn)
    with pytest.raises(Unavailable) as caught:
        await client.call(PING)
    assert not isinstance(caught.value, DeadlineExceeded)
    assert (
        caught.value.message
        == f"[stores] presence: Redis at 127.0.0.1:{server.port} cannot be reached: connection refused"
    )
    with server:
        assert await client.call(PING) == [b"PONG"]
        await client.close()


async def test_after_a_restart_the_next_call_works_and_no_call_is_lost_to_old_connections(
    client: RedisClient, server: RedisServer
) -> None:
    await asyncio.gather(client.call(PING), client.call(PING))
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    for _ in range(4):
        assert await client.call(PING) == [b"PONG"]
    assert connections(server) <= 2


async def test_killed_in_the_middle_of_a_call_the_outcome_is_unknown(client: RedisClient, server: RedisServer) -> None:
    await client.call(PING)
    server.pause()
    call = asyncio.create_task(client.call(PING))
    await asyncio.sleep(0.01)
    server.kill()
    with pytest.raises(DeadlineExceeded):
        await call
    server.start()
    assert await client.call(PING) == [b"PONG"]


async def test_a_server_that_stands_still_is_not_waited_for_beyond_the_deadline(server: RedisServer) -> None:
    client = client_of(f"{server.dsn}?timeout_ms=100&connections=2")
    await client.call(PING)
    server.pause()
    outcomes = await asyncio.gather(*(client.call(PING) for _ in range(6)), return_exceptions=True)
    server.resume()
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert isinstance(outcomes[0], DeadlineExceeded)  # sent
    assert not any(isinstance(outcome, DeadlineExceeded) for outcome in outcomes[2:])  # never had a connection
    while True:  # it says first what it was asked before
        try:
            assert await client.call(PING) == [b"PONG"]
            break
        except Unavailable:
            await asyncio.sleep(0.01)
    await client.close()


async def test_late_answers_are_never_taken_for_those_of_another_call(server: RedisServer) -> None:
    async with TcpProxy("127.0.0.1", server.port) as proxy:
        client = client_of(server.dsn.replace(str(server.port), str(proxy.port)) + "?timeout_ms=300&connections=1")
        assert await client.call((0, (b"ECHO", b"first"))) == [b"first"]
        proxy.answer_delay_s = 0.5
        with pytest.raises(DeadlineExceeded):
            await client.call((0, (b"ECHO", b"late")))
        proxy.answer_delay_s = 0.0
        await asyncio.sleep(0.5)
        for word in (b"a", b"b"):
            assert await client.call((0, (b"ECHO", word))) == [word]
        assert proxy.connections == 1
        await client.close()


async def test_a_cancelled_call_leaves_no_answer_behind_and_no_connection_taken(server: RedisServer) -> None:
    async with TcpProxy("127.0.0.1", server.port) as proxy:
        client = client_of(server.dsn.replace(str(server.port), str(proxy.port)) + "?connections=1")
        await client.call(PING)
        proxy.stall()
        for _ in range(3):
            call = asyncio.create_task(client.call((0, (b"ECHO", b"cancelled"))))
            await asyncio.sleep(0.01)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        proxy.flow()
        assert await client.call((0, (b"ECHO", b"next"))) == [b"next"]
        await client.close()


async def test_connections_are_few_however_many_call_and_waiting_is_bounded(server: RedisServer) -> None:
    async with TcpProxy("127.0.0.1", server.port) as proxy:
        client = client_of(server.dsn.replace(str(server.port), str(proxy.port)) + "?connections=2&timeout_ms=3000")
        await client.call(PING)
        proxy.stall()
        calls = [asyncio.create_task(client.call(PING)) for _ in range(2 * WAITING_PER_CONNECTION + 10)]
        done, waiting = await asyncio.wait(calls, timeout=0.05)
        assert {type(call.exception()) for call in done} == {Overloaded}
        assert len(done) == 10
        assert proxy.connections <= 2
        proxy.flow()
        assert await asyncio.gather(*waiting) == [[b"PONG"]] * (2 * WAITING_PER_CONNECTION)
        await client.close()


@pytest.mark.parametrize(
    ("login", "sentence"),
    [("", "asks for a password"), (":wrong-one@", "refuses the user or password"), ("nobody:x@", "refuses the user")],
)
async def test_a_wrong_password_is_told_without_showing_it(server: RedisServer, login: str, sentence: str) -> None:
    client = client_of(f"redis://{login}127.0.0.1:{server.port}/0")
    with pytest.raises(Unavailable) as caught:
        await client.call(PING)
    assert sentence in caught.value.message
    assert "wrong-one" not in caught.value.message
    await client.close()


async def test_a_replica_and_a_full_memory_say_that_nothing_was_done(client: RedisClient, server: RedisServer) -> None:
    with direct(server.dsn) as other:
        other.config_set("maxmemory", "1")
        with pytest.raises(Unavailable, match="raise maxmemory"):
            await client.call((0, ADD.on([b"a"], [1])))
        other.config_set("maxmemory", "0")
        other.replicaof("127.0.0.1", 1)
        with pytest.raises(Unavailable, match="read-only replica") as caught:
            await client.call((0, ADD.on([b"a"], [1])))
        assert not isinstance(caught.value, DeadlineExceeded)


async def test_a_part_done_makes_the_whole_unknown(client: RedisClient, server: RedisServer) -> None:
    with direct(server.dsn) as other:
        other.replicaof("127.0.0.1", 1)
    with pytest.raises(DeadlineExceeded, match="a part was done"):
        await client.call(PING, (0, (b"SET", b"a", b"1")))


async def test_a_name_that_nobody_knows_and_a_port_that_is_no_redis(server: RedisServer) -> None:
    client = client_of("redis://redis.invalid:6379/0?timeout_ms=2000")
    with pytest.raises(Unavailable, match="its name is not known"):
        await client.call(PING)
    await client.close()

    async def gibberish(_: Any, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    other = await asyncio.start_server(gibberish, "127.0.0.1", 0)
    client = client_of(f"redis://127.0.0.1:{other.sockets[0].getsockname()[1]}/0?timeout_ms=2000")
    with pytest.raises(Unavailable):
        await client.call(PING)
    await client.close()
    other.close()


async def test_every_call_is_counted_by_what_became_of_it(server: RedisServer) -> None:
    metrics = MemoryMetrics()
    client = client_of(f"{server.dsn}?timeout_ms=200&connections=1", metrics)
    await client.call(PING)
    server.pause()
    with pytest.raises(DeadlineExceeded):
        await client.call(PING)
    server.kill()
    with pytest.raises(Unavailable):
        await client.call(PING)
    for outcome in ("done", "unknown", "unavailable"):
        assert metrics.counted(Metric.REDIS_CALLS, store="presence", outcome=outcome) == 1
    await client.close()


async def test_closed_it_says_so_and_keeps_no_connection(client: RedisClient, server: RedisServer) -> None:
    await client.call(PING)
    await client.close()
    with pytest.raises(Unavailable, match="closed"):
        await client.call(PING)
    while connections(server):
        await asyncio.sleep(0.01)
