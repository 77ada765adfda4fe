"""A master behind Sentinels, and a replica that takes its place."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from push_core.dsn import Dsn
from push_core.errors import Unavailable
from push_core.presence.port import Located, Node, Route
from push_core.presence.redis import RedisPresence
from push_core.redis.client import RedisClient
from push_core.redis.place import SCHEMES
from tests.support.redis_cluster import SentinelSite, running, until
from tests.support.redis_time import direct

GATEWAY = Node(incarnation="gw-1.a", name="gw-1", address="127.0.0.1:7001", zone="default")
ROUTE = Route(app="courier", device="d-1", incarnation=GATEWAY.incarnation, epoch=1)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[SentinelSite]:
    with running(SentinelSite, tmp_path) as site:
        assert isinstance(site, SentinelSite)
        yield site


def presence_at(dsn: str) -> RedisPresence:
    return RedisPresence.open(Dsn.parse(dsn, "[stores] presence", SCHEMES))


async def test_after_a_failover_presence_is_at_the_new_master_without_anybodys_help(site: SentinelSite) -> None:
    presence = presence_at(f"{site.dsn}?timeout_ms=3000")
    assert await presence.lease_node(GATEWAY, 60.0)
    await presence.sign_in([ROUTE])
    assert await presence.locate([("courier", "d-1")]) == [Located(ROUTE, GATEWAY)]
    site.master.kill()
    async with asyncio.timeout(40):
        while True:
            try:
                await presence.lease_node(GATEWAY, 60.0)
                break
            except Unavailable:
                await asyncio.sleep(0.05)
    assert await presence.register_again([ROUTE]) == [True]  # what the replica had not heard of yet comes back
    assert await presence.locate([("courier", "d-1")]) == [Located(ROUTE, GATEWAY)]
    await presence.close()


async def test_a_master_that_became_a_replica_is_left_with_the_first_write(site: SentinelSite) -> None:
    presence = presence_at(f"{site.dsn}?timeout_ms=3000")
    await presence.lease_node(GATEWAY, 60.0)
    await asyncio.to_thread(until, site.fail_over)
    async with asyncio.timeout(40):
        while True:
            try:
                await presence.lease_node(GATEWAY, 60.0)
                await presence.sign_in([ROUTE])
                if await presence.locate([("courier", "d-1")]) == [Located(ROUTE, GATEWAY)] and _is_master(site):
                    break
            except Unavailable:
                pass
            await asyncio.sleep(0.05)
    await presence.close()


def _is_master(site: SentinelSite) -> bool:
    with direct(site.replica.dsn) as server:
        try:
            return bool(server.role()[0] == b"master")
        except redis.ConnectionError:  # it hangs up on everybody when its role changes
            return False


async def test_without_a_sentinel_that_knows_the_service_the_reason_is_told(site: SentinelSite) -> None:
    client, _ = RedisClient.open(
        Dsn.parse(site.dsn.replace("/taco/0", "/other/0"), "[stores] presence", SCHEMES), (), None
    )
    with pytest.raises(Unavailable, match="does not know the service other"):
        await client.call((0, (b"PING",)))
    await client.close()
    site.sentinel.kill()
    presence = presence_at(site.dsn)
    with pytest.raises(Unavailable, match=r"Sentinel at 127.0.0.1:.* cannot be reached: connection refused"):
        await presence.ping()
    await presence.close()


async def test_known_masters_are_used_while_all_sentinels_are_away(
    site: SentinelSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("push_core.redis.topology.ASK_AGAIN_S", 0.0)
    presence = presence_at(site.dsn)
    await presence.ping()
    site.sentinel.kill()
    await presence.ping()
    await presence.close()
