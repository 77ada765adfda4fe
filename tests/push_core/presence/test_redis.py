"""Presence in a real Redis, beyond the contract: what it costs, what happens when Redis is emptied, and when programs don't agree."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest

from push_core.errors import DeadlineExceeded, Unavailable
from push_core.presence import redis_leases
from push_core.presence.port import Located, Node, Route, SignIn, Verdict
from push_core.presence.redis import RedisPresence
from push_core.redis.client import Command, RedisClient
from tests.support.redis_stores import RedisAt
from tests.support.redis_time import direct

ONE = Node(incarnation="gw-1.a", name="gw-1", address="127.0.0.1:7001", zone="default")
TWO = Node(incarnation="gw-2.a", name="gw-2", address="127.0.0.1:7002", zone="default")
Open = Callable[..., RedisPresence]


def route(device: str = "d-1", *, on: Node = ONE, epoch: int = 1, **more: Any) -> Route:
    return Route(app="courier", device=device, incarnation=on.incarnation, epoch=epoch, **more)


@pytest.fixture
async def open_one(redis_at: RedisAt) -> AsyncIterator[Open]:
    """As many processes as are asked for, on one Redis."""
    opened: list[RedisPresence] = []

    def make(**options: int) -> RedisPresence:
        opened.append(RedisPresence.open(redis_at.dsn("presence", **({"buckets": 256} | options))))
        return opened[-1]

    yield make
    for each in opened:
        await each.close()


def empty(at: RedisAt) -> None:
    """What FLUSHALL does, to this test's keys only."""
    with direct(at.text) as server:
        for key in list(server.scan_iter(f"{at.prefix}:*")):
            server.delete(key)


class Trips:
    """Counts the calls of a client, each a round trip to a single Redis, and the commands in each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.commands: list[int] = []
        call = RedisClient.call

        async def counted(client: RedisClient, *commands: Command, **more: Any) -> list[Any]:
            self.commands.append(len(commands))
            return await call(client, *commands, **more)

        monkeypatch.setattr(RedisClient, "call", counted)


# ── round trips ─────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_batch_is_located_in_one_round_trip_of_two_commands(
    open_one: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, dispatcher = open_one(), open_one()
    await gateway.lease_node(ONE, 15.0)
    routes = [route(f"d-{number}") for number in range(256)]
    await gateway.sign_in(routes)
    trips = Trips(monkeypatch)
    keys = [(each.app, each.device) for each in routes]
    assert await dispatcher.locate(keys) == [Located(each, ONE) for each in routes]
    assert trips.commands == [1, 1]  # the lease was new to it
    assert await dispatcher.locate(keys) == [Located(each, ONE) for each in routes]
    assert trips.commands[2:] == [2]


async def test_routes_of_the_dead_cost_another_round_trip_once(open_one: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway, dispatcher = open_one(), open_one()
    await gateway.lease_node(ONE, 15.0)
    await gateway.sign_in([route()])
    await gateway.release_node(ONE.incarnation)
    trips = Trips(monkeypatch)
    for _ in range(3):
        assert await dispatcher.locate([("courier", "d-1")]) == [None]
    assert trips.commands == [1, 1, 1, 1]


async def test_in_a_large_fleet_leases_are_not_asked_for_with_every_batch(
    open_one: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_leases, "ASKED_EACH_TIME", 1)
    monkeypatch.setattr(redis_leases, "ASK_AGAIN_S", 0.05)
    presence, other = open_one(), open_one()
    await presence.lease_node(ONE, 15.0)
    await other.lease_node(TWO, 15.0)
    await presence.sign_in([route()])
    await other.sign_in([route("d-2", on=TWO)])
    keys = [("courier", "d-1"), ("courier", "d-2")]
    assert await presence.locate(keys) == [Located(route(), ONE), Located(route("d-2", on=TWO), TWO)]
    trips = Trips(monkeypatch)
    await presence.locate(keys)
    await presence.locate(keys)
    assert trips.commands.count(2) <= 1
    await other.release_node(TWO.incarnation)
    while (await presence.locate(keys))[1] is not None:
        await asyncio.sleep(0.01)


# ── several processes ───────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_dispatcher_corrects_a_route_that_a_gateway_set(open_one: Open) -> None:
    gateway, dispatcher, newcomer = open_one(), open_one(), open_one()
    await gateway.lease_node(ONE, 15.0)
    await gateway.sign_in([route(epoch=7)])
    (found,) = await dispatcher.locate([("courier", "d-1")])
    assert found is not None
    assert await dispatcher.sign_out([found.route]) == [True]
    await gateway.sign_in([route(epoch=8)])
    assert await newcomer.sign_out([route(epoch=7), route(on=TWO)]) == [False, False]  # it has seen nobody's routes
    assert await newcomer.sign_out([route(epoch=8)]) == [True]


async def test_two_gateways_see_each_others_routes_and_the_kick_names_the_old_epoch(open_one: Open) -> None:
    first, second = open_one(), open_one()
    await first.lease_node(ONE, 15.0)
    await second.lease_node(TWO, 15.0)
    old = route(install="phone", attempt=3, epoch=70_000, since=1_790_000_000_000)
    await first.sign_in([old])
    new = route(install="phone", attempt=4, on=TWO)
    assert await second.sign_in([new]) == [SignIn(Verdict.WON, old)]
    assert await first.sign_in([old]) == [SignIn(Verdict.SUPERSEDED, new)]
    assert await first.register_again([old]) == [False]
    assert await first.sign_out([old]) == [False]
    assert await first.locate([("courier", "d-1")]) == [Located(new, TWO)]


async def test_in_one_call_a_device_that_may_not_and_one_that_may_are_told_apart(open_one: Open) -> None:
    presence = open_one()
    await presence.lease_node(ONE, 15.0)
    await presence.sign_in([route(install="phone", attempt=9), route("d-2")])
    late, other, last = (
        route(install="phone", attempt=1, epoch=2),
        route(install="tablet", attempt=1, epoch=3),
        route("d-2", epoch=4),
    )
    answers = await presence.sign_in([late, last, other])
    assert [answer.verdict for answer in answers] == [Verdict.SUPERSEDED, Verdict.WON, Verdict.WON]
    assert answers[2].old == route(install="phone", attempt=9)
    assert await presence.locate([("courier", "d-1")]) == [Located(other, ONE)]


async def test_long_names_are_devices_like_any_other(open_one: Open) -> None:
    presence = open_one()
    await presence.lease_node(ONE, 15.0)
    routes = [route("ü" * 128, epoch=1), route("ü" * 127, epoch=2), route("x" * 17, epoch=3)]
    await presence.sign_in(routes)
    assert await presence.locate([(each.app, each.device) for each in routes]) == [
        Located(each, ONE) for each in routes
    ]


# ── leases ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_an_emptied_redis_tells_the_node_and_is_filled_again(open_one: Open, redis_at: RedisAt) -> None:
    presence = open_one()
    await presence.lease_node(ONE, 15.0)
    await presence.sign_in([route()])
    empty(redis_at)
    assert await presence.nodes() == []
    assert await presence.locate([("courier", "d-1")]) == [None]
    await presence.sign_in([route("d-2")])  # before the node heard of it: under the lease that is gone
    assert await presence.lease_node(ONE, 15.0) is False
    assert await presence.locate([("courier", "d-2")]) == [None]
    assert await presence.register_again([route(), route("d-2")]) == [True, True]
    assert await presence.lease_node(ONE, 15.0) is True
    assert await presence.locate([("courier", "d-1"), ("courier", "d-2")]) == [
        Located(route(), ONE),
        Located(route("d-2"), ONE),
    ]


async def test_what_signed_in_before_any_lease_is_void_and_the_node_is_told(open_one: Open) -> None:
    presence = open_one()
    await presence.sign_in([route()])
    assert await presence.locate([("courier", "d-1")]) == [None]
    assert await presence.lease_node(ONE, 15.0) is False
    assert await presence.register_again([route()]) == [True]
    assert await presence.locate([("courier", "d-1")]) == [Located(route(), ONE)]


async def test_a_loss_that_could_not_be_told_is_told_by_the_next_answer(
    open_one: Open, redis_at: RedisAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    presence = open_one()
    await presence.lease_node(ONE, 15.0)
    await presence.sign_in([route()])
    empty(redis_at)
    call = RedisClient.call
    answers: list[Any] = []

    async def losing(client: RedisClient, *commands: Command, **more: Any) -> list[Any]:
        answers.append(await call(client, *commands, **more))
        if len(answers) == 2:  # the new lease is taken, and nobody hears of it
            raise DeadlineExceeded("lost")
        return list(answers[-1])

    monkeypatch.setattr(RedisClient, "call", losing)
    with pytest.raises(DeadlineExceeded):
        await presence.lease_node(ONE, 15.0)
    await presence.sign_in([route()])  # under the lease that nobody heard of
    assert await presence.lease_node(ONE, 15.0) is False
    assert await presence.nodes() == [ONE]  # once, though two of its leases are alive
    assert await presence.register_again([route()]) == [True]


async def test_a_lease_drawn_by_two_is_had_by_one(open_one: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter([b"same", b"same", b"diff"])
    monkeypatch.setattr(redis_leases, "new_lease", lambda: next(drawn))
    first, second = open_one(), open_one()
    assert await first.lease_node(ONE, 15.0) is True
    assert await second.lease_node(TWO, 15.0) is True
    await first.sign_in([route()])
    assert await second.locate([("courier", "d-1")]) == [Located(route(), ONE)]


async def test_programs_with_different_numbers_of_buckets_say_so(open_one: Open) -> None:
    gateway, dispatcher = open_one(buckets=256), open_one(buckets=512)
    await gateway.lease_node(ONE, 15.0)
    for ask in (dispatcher.ping(), dispatcher.nodes(), dispatcher.lease_node(TWO, 15.0)):
        with pytest.raises(Unavailable, match="the same option `buckets`"):
            await ask


# ── sweeping, memory ────────────────────────────────────────────────────────────────────────────────────────────────


def entries(at: RedisAt) -> int:
    with direct(at.text) as server:
        return sum(server.hlen(key) for key in server.scan_iter(f"{at.prefix}:r:*"))


async def test_a_swept_lease_is_forgotten_and_one_taken_meanwhile_keeps_its_routes(
    open_one: Open, redis_at: RedisAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, other, sweeper = open_one(), open_one(), open_one()
    await gateway.lease_node(ONE, 15.0)
    await gateway.sign_in([route(f"d-{number}") for number in range(50)])
    await gateway.release_node(ONE.incarnation)
    census = sweeper._sweeper.census

    async def before_a_newcomer() -> Sequence[bytes]:
        leases = await census()
        await other.lease_node(TWO, 15.0)
        await other.sign_in([route(f"e-{number}", on=TWO) for number in range(50)])
        return leases

    monkeypatch.setattr(sweeper._sweeper, "census", before_a_newcomer)
    assert await sweeper.sweep() == 50
    monkeypatch.undo()
    assert entries(redis_at) == 50
    assert await other.locate([("courier", "e-7")]) == [Located(route("e-7", on=TWO), TWO)]
    with direct(redis_at.text) as server:
        assert [server.zcard(key) for key in server.scan_iter(f"{redis_at.prefix}:n:*:leases")] == [1]


async def test_routes_of_leases_that_nobody_remembers_are_found_in_the_long_run(
    open_one: Open, redis_at: RedisAt
) -> None:
    presence = open_one()
    await presence.sign_in([route(f"d-{number}") for number in range(20)])  # never leased
    assert sum([await presence.sweep() for _ in range(4)]) == 20
    assert entries(redis_at) == 0


async def test_buckets_stay_compact(open_one: Open, redis_at: RedisAt) -> None:
    presence = open_one(buckets=64)
    await presence.lease_node(ONE, 15.0)
    await presence.sign_in([route("x" * 128 + str(n), install="i" * 30, attempt=2**53) for n in range(64 * 40)])
    with direct(redis_at.text) as server:
        assert {server.object("encoding", key) for key in server.scan_iter(f"{redis_at.prefix}:r:*")} == {b"listpack"}
