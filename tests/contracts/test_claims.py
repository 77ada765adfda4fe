"""What every adapter of claims promises."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from push_core.claims.memory import MemoryClaims
from push_core.claims.port import Claim, Claims
from push_core.claims.redis import RedisClaims
from tests.support.hand_clock import HandClock
from tests.support.redis_stores import RedisAt

PassTime = Callable[[float], Awaitable[None]]
KEY = "7302:courier:d-1:fcm"
TTL_S, KEEP_S = 30.0, 600.0


class ClaimsContract:
    """Subclasses give the fixtures `claims` (empty) and `pass_time` (let that many seconds go by)."""

    async def test_the_first_holder_is_granted_and_the_second_is_told_to_keep_off(self, claims: Claims) -> None:
        assert await claims.take([KEY], "worker-1", TTL_S) == [Claim.GRANTED]
        assert await claims.take([KEY], "worker-2", TTL_S) == [Claim.HELD]

    async def test_a_holder_may_take_what_it_holds_again_and_holds_it_longer(
        self, claims: Claims, pass_time: PassTime
    ) -> None:
        await claims.take([KEY], "worker-1", TTL_S)
        await pass_time(20)
        assert await claims.take([KEY], "worker-1", TTL_S) == [Claim.GRANTED]
        await pass_time(20)
        assert await claims.take([KEY], "worker-2", TTL_S) == [Claim.HELD]

    async def test_a_claim_that_ran_out_is_free(self, claims: Claims, pass_time: PassTime) -> None:
        await claims.take([KEY], "worker-1", TTL_S)
        await pass_time(TTL_S + 1)
        assert await claims.take([KEY], "worker-2", TTL_S) == [Claim.GRANTED]
        assert await claims.take([KEY], "worker-1", TTL_S) == [Claim.HELD]

    async def test_what_is_done_is_granted_to_nobody_not_even_its_holder(self, claims: Claims) -> None:
        await claims.take([KEY], "worker-1", TTL_S)
        await claims.done([KEY], "worker-1", KEEP_S)
        assert await claims.take([KEY], "worker-1", TTL_S) == [Claim.DONE]
        assert await claims.take([KEY], "worker-2", TTL_S) == [Claim.DONE]

    async def test_done_is_remembered_for_as_long_as_asked_and_no_longer(
        self, claims: Claims, pass_time: PassTime
    ) -> None:
        await claims.take([KEY], "worker-1", TTL_S)
        await claims.done([KEY], "worker-1", KEEP_S)
        await pass_time(KEEP_S - 5)
        assert await claims.take([KEY], "worker-2", TTL_S) == [Claim.DONE]
        await pass_time(10)
        assert await claims.take([KEY], "worker-2", TTL_S) == [Claim.GRANTED]

    async def test_done_counts_even_if_the_claim_ran_out_or_went_to_another(
        self, claims: Claims, pass_time: PassTime
    ) -> None:
        await claims.take([KEY], "worker-1", TTL_S)
        await pass_time(TTL_S + 1)
        await claims.take([KEY], "worker-2", TTL_S)
        await claims.done([KEY], "worker-1", KEEP_S)
        assert await claims.take([KEY], "worker-2", TTL_S) == [Claim.DONE]

    async def test_given_back_it_is_free_at_once(self, claims: Claims) -> None:
        await claims.take([KEY], "worker-1", TTL_S)
        await claims.give_back([KEY], "worker-1")
        assert await claims.take([KEY], "worker-2", TTL_S) == [Claim.GRANTED]

    async def test_nobody_gives_back_what_another_holds_or_what_is_done(self, claims: Claims) -> None:
        await claims.take([KEY, "other"], "worker-1", TTL_S)
        await claims.done(["other"], "worker-1", KEEP_S)
        await claims.give_back([KEY], "worker-2")
        await claims.give_back(["other", "never taken"], "worker-1")
        assert await claims.take([KEY, "other"], "worker-2", TTL_S) == [Claim.HELD, Claim.DONE]

    async def test_each_key_of_a_call_has_its_own_answer_in_order(self, claims: Claims) -> None:
        await claims.take(["held"], "worker-2", TTL_S)
        await claims.done(["done"], "worker-2", KEEP_S)
        answers = await claims.take(["done", "free", "held"], "worker-1", TTL_S)
        assert answers == [Claim.DONE, Claim.GRANTED, Claim.HELD]
        assert await claims.take([], "worker-1", TTL_S) == []

    async def test_equal_devices_of_two_apps_and_two_channels_are_apart(self, claims: Claims) -> None:
        keys = ["7302:courier:d-1:fcm", "7302:shop:d-1:fcm", "7302:courier:d-1:apns"]
        await claims.take(keys[:1], "worker-1", TTL_S)
        assert await claims.take(keys, "worker-2", TTL_S) == [Claim.HELD, Claim.GRANTED, Claim.GRANTED]


class TestMemoryClaims(ClaimsContract):
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    def claims(self, clock: HandClock) -> MemoryClaims:
        return MemoryClaims(monotonic=clock.monotonic)

    @pytest.fixture
    def pass_time(self, clock: HandClock) -> PassTime:
        return clock.pass_time


class TestRedisClaims(ClaimsContract):
    @pytest.fixture
    async def claims(self, redis_at: RedisAt) -> AsyncIterator[RedisClaims]:
        claims = RedisClaims.open(redis_at.dsn("claims"))
        yield claims
        await claims.close()

    @pytest.fixture
    def pass_time(self, redis_at: RedisAt) -> PassTime:
        return redis_at.pass_time


class TestRedisClusterClaims(ClaimsContract):
    @pytest.fixture
    async def claims(self, redis_cluster_at: RedisAt) -> AsyncIterator[RedisClaims]:
        claims = RedisClaims.open(redis_cluster_at.dsn("claims"))
        yield claims
        await claims.close()

    @pytest.fixture
    def pass_time(self, redis_cluster_at: RedisAt) -> PassTime:
        return redis_cluster_at.pass_time
