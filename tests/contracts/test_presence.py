"""What every presence adapter promises, for apps that use equal device names too."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from push_core.errors import Unavailable
from push_core.presence.memory import MemoryPresence
from push_core.presence.port import Located, Node, Presence, Route, Verdict
from push_core.presence.redis import RedisPresence
from tests.support.hand_clock import HandClock
from tests.support.redis_stores import RedisAt

PassTime = Callable[[float], Awaitable[None]]

ONE = Node(incarnation="gw-1.a", name="gw-1", address="127.0.0.1:7001", zone="default")
TWO = Node(incarnation="gw-2.a", name="gw-2", address="127.0.0.1:7002", zone="default")
TTL_S = 15.0


def route(device: str = "d-1", *, on: Node = ONE, epoch: int = 1, app: str = "courier", **more: object) -> Route:
    return Route(app=app, device=device, incarnation=on.incarnation, epoch=epoch, **more)  # type: ignore[arg-type]


class PresenceContract:
    """Subclasses give the fixtures `presence` (empty) and `pass_time` (let that many seconds go by, for its leases)."""

    @pytest.fixture(autouse=True)
    async def _leased(self, presence: Presence) -> None:
        assert await presence.lease_node(ONE, TTL_S)
        assert await presence.lease_node(TWO, TTL_S)

    # ── leases ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_nodes_lists_those_whose_lease_is_alive(self, presence: Presence, pass_time: PassTime) -> None:
        assert sorted(node.name for node in await presence.nodes()) == ["gw-1", "gw-2"]
        await pass_time(10)
        await presence.lease_node(ONE, TTL_S)
        await pass_time(10)
        assert await presence.nodes() == [ONE]

    async def test_renewing_in_time_keeps_the_lease_and_its_routes(
        self, presence: Presence, pass_time: PassTime
    ) -> None:
        await presence.sign_in([route()])
        for _ in range(4):
            await pass_time(10)
            assert await presence.lease_node(ONE, TTL_S) is True
        assert await presence.locate([("courier", "d-1")]) == [Located(route(), ONE)]

    async def test_a_renewal_may_carry_a_new_address(self, presence: Presence) -> None:
        await presence.sign_in([route()])
        moved = Node(incarnation=ONE.incarnation, name="gw-1", address="127.0.0.1:7009", zone="default")
        assert await presence.lease_node(moved, TTL_S)
        assert await presence.locate([("courier", "d-1")]) == [Located(route(), moved)]

    async def test_when_a_lease_runs_out_its_routes_are_void_at_once(
        self, presence: Presence, pass_time: PassTime
    ) -> None:
        await presence.sign_in([route("d-1"), route("d-2", on=TWO)])
        await pass_time(10)
        await presence.lease_node(TWO, TTL_S)
        await pass_time(6)
        located = await presence.locate([("courier", "d-1"), ("courier", "d-2")])
        assert located == [None, Located(route("d-2", on=TWO), TWO)]

    async def test_a_node_whose_lease_ran_out_is_told_and_its_routes_stay_void_until_registered_again(
        self, presence: Presence, pass_time: PassTime
    ) -> None:
        await presence.sign_in([route()])
        await pass_time(TTL_S + 1)
        assert await presence.lease_node(ONE, TTL_S) is False
        assert await presence.locate([("courier", "d-1")]) == [None]
        assert await presence.lease_node(ONE, TTL_S) is True
        assert await presence.register_again([route()]) == [True]
        assert await presence.locate([("courier", "d-1")]) == [Located(route(), ONE)]

    async def test_a_node_that_slept_through_a_sweep_is_still_told(
        self, presence: Presence, pass_time: PassTime
    ) -> None:
        await presence.sign_in([route()])
        await pass_time(TTL_S + 1)
        await presence.sweep()
        assert await presence.lease_node(ONE, TTL_S) is False

    async def test_a_released_lease_voids_its_routes(self, presence: Presence) -> None:
        await presence.sign_in([route("d-1"), route("d-2", on=TWO)])
        await presence.release_node(ONE.incarnation)
        assert await presence.nodes() == [TWO]
        assert await presence.locate([("courier", "d-1")]) == [None]
        await presence.release_node("never seen")

    # ── signing in and out ──────────────────────────────────────────────────────────────────────────────────────────

    async def test_signing_in_sets_the_route_and_says_that_there_was_none(self, presence: Presence) -> None:
        (won,) = await presence.sign_in([route(since=1_790_000_000_000)])
        assert (won.verdict, won.old) == (Verdict.WON, None)
        assert await presence.locate([("courier", "d-1")]) == [Located(route(since=1_790_000_000_000), ONE)]

    @pytest.mark.parametrize(
        ("standing", "newcomer", "verdict"),
        [
            (("phone", 7), ("phone", 8), Verdict.WON),
            (("phone", 7), ("phone", 7), Verdict.WON),
            (("phone", 7), ("phone", 6), Verdict.SUPERSEDED),
            (("phone", 7), ("tablet", 1), Verdict.WON),
            (("phone", 7), ("", 0), Verdict.WON),
            (("", 9), ("", 1), Verdict.WON),
        ],
        ids=[
            "later attempt",
            "same attempt",
            "earlier attempt",
            "another install",
            "no install given",
            "none given by either",
        ],
    )
    async def test_within_an_install_the_higher_attempt_wins_and_otherwise_the_newcomer(
        self, presence: Presence, standing: tuple[str, int], newcomer: tuple[str, int], verdict: Verdict
    ) -> None:
        old = route(install=standing[0], attempt=standing[1])
        new = route(on=TWO, install=newcomer[0], attempt=newcomer[1])
        await presence.sign_in([old])
        (answer,) = await presence.sign_in([new])
        assert (answer.verdict, answer.old) == (verdict, old)
        expected = Located(new, TWO) if verdict is Verdict.WON else Located(old, ONE)
        assert await presence.locate([("courier", "d-1")]) == [expected]

    async def test_a_route_of_a_dead_node_supersedes_nobody(self, presence: Presence) -> None:
        await presence.sign_in([route(install="phone", attempt=9)])
        await presence.release_node(ONE.incarnation)
        (answer,) = await presence.sign_in([route(on=TWO, install="phone", attempt=1)])
        assert (answer.verdict, answer.old) == (Verdict.WON, None)

    async def test_the_routes_of_one_call_are_set_in_order(self, presence: Presence) -> None:
        first, second = await presence.sign_in([route(epoch=1), route(epoch=2)])
        assert first.old is None
        assert second.old == route(epoch=1)

    async def test_signing_out_removes_exactly_this_connection(self, presence: Presence) -> None:
        await presence.sign_in([route(epoch=2)])
        assert await presence.sign_out([route(epoch=1), route(epoch=2, on=TWO), route("d-2")]) == [False] * 3
        assert await presence.locate([("courier", "d-1")]) == [Located(route(epoch=2), ONE)]
        assert await presence.sign_out([route(epoch=2)]) == [True]
        assert await presence.locate([("courier", "d-1")]) == [None]
        assert await presence.sign_out([route(epoch=2)]) == [False]

    # ── registering again ───────────────────────────────────────────────────────────────────────────────────────────

    async def test_registering_again_yields_to_a_live_route_elsewhere(self, presence: Presence) -> None:
        await presence.sign_in([route(on=TWO)])
        assert await presence.register_again([route()]) == [False]
        assert await presence.locate([("courier", "d-1")]) == [Located(route(on=TWO), TWO)]

    async def test_registering_again_yields_to_a_newer_connection_of_the_same_node(self, presence: Presence) -> None:
        await presence.sign_in([route(epoch=5)])
        assert await presence.register_again([route(epoch=4)]) == [False]
        assert await presence.register_again([route(epoch=5)]) == [True]
        assert await presence.register_again([route(epoch=6)]) == [True]

    async def test_registering_again_replaces_a_dead_route_and_fills_an_empty_store(self, presence: Presence) -> None:
        await presence.sign_in([route(on=TWO)])
        await presence.release_node(TWO.incarnation)
        assert await presence.register_again([route(), route("d-2")]) == [True, True]
        assert await presence.locate([("courier", "d-1"), ("courier", "d-2")]) == [
            Located(route(), ONE),
            Located(route("d-2"), ONE),
        ]

    # ── sweeping ────────────────────────────────────────────────────────────────────────────────────────────────────

    async def test_the_sweep_removes_dead_entries_only_and_a_bounded_number_at_a_time(self, presence: Presence) -> None:
        await presence.sign_in([route(f"d-{n}") for n in range(5)])
        await presence.sign_in([route("alive", on=TWO)])
        assert await presence.sweep() == 0
        await presence.release_node(ONE.incarnation)
        assert [await presence.sweep(limit=3), await presence.sweep(limit=3), await presence.sweep(limit=3)] == [
            3,
            2,
            0,
        ]
        assert await presence.locate([("courier", "alive")]) == [Located(route("alive", on=TWO), TWO)]

    async def test_the_sweep_leaves_a_device_that_signed_in_elsewhere(self, presence: Presence) -> None:
        await presence.sign_in([route()])
        await presence.sign_in([route(on=TWO)])
        await presence.release_node(ONE.incarnation)
        assert await presence.sweep() == 0
        assert await presence.locate([("courier", "d-1")]) == [Located(route(on=TWO), TWO)]

    # ── tenants, edges ──────────────────────────────────────────────────────────────────────────────────────────────

    async def test_equal_device_names_of_two_apps_are_two_devices(self, presence: Presence) -> None:
        ours, theirs = route(app="courier", install="phone", attempt=9), route(app="shop", install="phone", on=TWO)
        first, second = await presence.sign_in([ours, theirs])
        assert (first.old, second.old) == (None, None)
        assert await presence.locate([("courier", "d-1"), ("shop", "d-1"), ("third", "d-1")]) == [
            Located(ours, ONE),
            Located(theirs, TWO),
            None,
        ]
        assert await presence.sign_out([ours]) == [True]
        assert await presence.register_again([theirs]) == [True]
        assert await presence.locate([("courier", "d-1"), ("shop", "d-1")]) == [None, Located(theirs, TWO)]

    async def test_names_that_look_alike_when_joined_are_kept_apart(self, presence: Presence) -> None:
        await presence.sign_in([route("b:c", app="a"), route("c", app="a:b")])
        (first, second) = await presence.locate([("a", "b:c"), ("a:b", "c")])
        assert first is not None
        assert second is not None
        assert (first.route.device, second.route.device) == ("b:c", "c")

    async def test_empty_lists_are_fine(self, presence: Presence) -> None:
        assert await presence.sign_in([]) == []
        assert await presence.register_again([]) == []
        assert await presence.sign_out([]) == []
        assert await presence.locate([]) == []

    async def test_a_closed_one_says_that_it_cannot_be_asked(self, presence: Presence) -> None:
        await presence.ping()
        await presence.close()
        with pytest.raises(Unavailable):
            await presence.ping()


class TestMemoryPresence(PresenceContract):
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    def presence(self, clock: HandClock) -> MemoryPresence:
        return MemoryPresence(monotonic=clock.monotonic)

    @pytest.fixture
    def pass_time(self, clock: HandClock) -> PassTime:
        return clock.pass_time


class TestRedisPresence(PresenceContract):
    @pytest.fixture
    async def presence(self, redis_at: RedisAt) -> AsyncIterator[RedisPresence]:
        presence = RedisPresence.open(redis_at.dsn("presence", buckets=256))
        yield presence
        await presence.close()

    @pytest.fixture
    def pass_time(self, redis_at: RedisAt) -> PassTime:
        return redis_at.pass_time


class TestRedisClusterPresence(PresenceContract):
    @pytest.fixture
    async def presence(self, redis_cluster_at: RedisAt) -> AsyncIterator[RedisPresence]:
        presence = RedisPresence.open(redis_cluster_at.dsn("presence", buckets=256))
        yield presence
        await presence.close()

    @pytest.fixture
    def pass_time(self, redis_cluster_at: RedisAt) -> PassTime:
        return redis_cluster_at.pass_time
