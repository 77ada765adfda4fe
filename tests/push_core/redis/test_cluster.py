"""A real Cluster: slots that move, nodes that go."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from push_core.errors import Unavailable
from push_core.presence.port import Located, Node, Route
from push_core.presence.redis import RedisPresence
from push_core.redis.client import RedisClient, Script
from push_core.redis.tags import SLOT_OF, TAGS
from tests.support.redis_cluster import RedisCluster, running
from tests.support.redis_stores import RedisAt, place_at
from tests.support.redis_time import direct

ADD = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[RedisCluster]:
    """One that a test may change."""
    with running(RedisCluster, tmp_path) as cluster:
        assert isinstance(cluster, RedisCluster)
        yield cluster


@pytest.fixture
async def client(cluster: RedisCluster) -> AsyncIterator[RedisClient]:
    client, _ = RedisClient.open(place_at(cluster).dsn(timeout_ms=3_000), (ADD,), None)
    yield client
    await client.close()


def key_of(tag: int) -> bytes:
    return b"test:{%b}:x" % TAGS[tag]


async def set_all(client: RedisClient, by: int) -> list[int]:
    answers: list[int] = await client.call(*((tag, ADD.on([key_of(tag)], [by])) for tag in range(len(TAGS))))
    return answers


async def test_commands_go_to_the_servers_that_have_their_slots_and_answers_come_in_order(
    client: RedisClient, cluster: RedisCluster
) -> None:
    await client.call(*((tag, (b"SET", key_of(tag), tag)) for tag in range(len(TAGS))))
    assert await set_all(client, 100) == [100 + tag for tag in range(len(TAGS))]
    for node in cluster.nodes:
        with direct(node.dsn) as server:
            assert 20 <= server.dbsize() <= 23


async def test_slots_that_moved_are_followed_and_nothing_is_done_twice(
    client: RedisClient, cluster: RedisCluster
) -> None:
    await set_all(client, 1)
    await _move(cluster, SLOT_OF[0])
    await _move(cluster, SLOT_OF[1])
    assert await set_all(client, 1) == [2] * len(TAGS)
    assert await set_all(client, 1) == [3] * len(TAGS)


async def test_a_slot_on_the_move_is_asked_for_at_both_places(client: RedisClient, cluster: RedisCluster) -> None:
    await set_all(client, 1)
    source, target, source_id, target_id = _ends(cluster)
    slot = SLOT_OF[0]
    with direct(source) as leaving, direct(target) as coming:
        coming.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        leaving.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        assert key_slot(key_of(0)) == slot
        assert await set_all(client, 1) == [2] * len(TAGS)  # still there
        port = int(target.rpartition(":")[2].partition("/")[0])
        leaving.execute_command("MIGRATE", "127.0.0.1", port, key_of(0), 0, 1_000, "AUTH", cluster.password)
        assert await set_all(client, 1) == [3] * len(TAGS)  # gone on


async def test_when_a_node_dies_its_part_is_unavailable_and_the_rest_comes_back_with_it(cluster: RedisCluster) -> None:
    presence = RedisPresence.open(place_at(cluster).dsn(timeout_ms=4_000, buckets=256))
    gateway = Node(incarnation="gw-1.a", name="gw-1", address="127.0.0.1:7001", zone="default")
    routes = [Route(app="courier", device=f"d-{n}", incarnation="gw-1.a", epoch=n) for n in range(100)]
    keys = [(route.app, route.device) for route in routes]
    await presence.lease_node(gateway, 60.0)
    await presence.sign_in(routes)
    await asyncio.to_thread(cluster.nodes[1].kill)
    with pytest.raises(Unavailable):
        await presence.locate(keys)
    await asyncio.to_thread(cluster.nodes[1].start)
    async with asyncio.timeout(40):
        while True:
            try:
                kept = await presence.register_again(routes)
                break
            except Unavailable:
                await asyncio.sleep(0.05)
    assert all(kept)
    assert await presence.locate(keys) == [Located(route, gateway) for route in routes]
    await presence.close()


async def test_a_node_of_a_cluster_says_so_to_who_takes_it_for_a_single_server(redis_cluster: RedisCluster) -> None:
    at = RedisAt(redis_cluster.nodes[2].dsn, "single", [])
    client, _ = RedisClient.open(at.dsn(), (), None)
    with pytest.raises(Unavailable, match=r"use redis\+cluster://"):
        await client.call((0, (b"GET", key_of(0))))
    await client.close()


async def test_a_single_server_says_so_to_who_takes_it_for_a_cluster(redis_at: RedisAt) -> None:
    at = RedisAt(redis_at.text.replace("redis://", "redis+cluster://"), "cluster", [])
    client, _ = RedisClient.open(at.dsn(), (), None)
    with pytest.raises(Unavailable, match="use redis://"):
        await client.call((0, (b"PING",)))
    await client.close()


def _ends(cluster: RedisCluster) -> tuple[str, str, bytes, bytes]:
    """From the first node to the last: their DSNs and ids."""
    source, target = cluster.nodes[0].dsn, cluster.nodes[2].dsn
    with direct(source) as leaving, direct(target) as coming:
        return source, target, leaving.execute_command("CLUSTER", "MYID"), coming.execute_command("CLUSTER", "MYID")


async def _move(cluster: RedisCluster, slot: int) -> None:
    source, target, source_id, target_id = _ends(cluster)
    port = int(target.rpartition(":")[2].partition("/")[0])
    with direct(source) as leaving, direct(target) as coming:
        coming.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        leaving.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
        for key in leaving.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            leaving.execute_command("MIGRATE", "127.0.0.1", port, key, 0, 1_000, "AUTH", cluster.password)
        for server in (coming, leaving):
            server.execute_command("CLUSTER", "SETSLOT", slot, "NODE", target_id)
