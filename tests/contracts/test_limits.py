"""What every adapter of limits promises."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from push_core.errors import Unavailable
from push_core.limits.memory import MemoryLimits
from push_core.limits.port import Ask, Limits
from push_core.limits.redis import RedisLimits
from tests.support.hand_clock import HandClock
from tests.support.redis_stores import RedisAt

PassTime = Callable[[float], Awaitable[None]]


def ask(n: float = 1, key: str = "courier", *, rate: float = 0.1, burst: float = 10) -> Ask:
    """At a token in ten seconds, what a test itself lasts fills nothing."""
    return Ask(key, n, rate, burst)


class LimitsContract:
    """Subclasses give the fixtures `limits` (empty) and `pass_time` (let that many seconds go by)."""

    async def test_a_new_bucket_is_full_and_gives_its_burst_at_once(self, limits: Limits) -> None:
        assert await limits.take([ask()] * 10) == [0.0] * 10
        (wait,) = await limits.take([ask()])
        assert wait == pytest.approx(10, abs=2)

    async def test_a_refused_ask_takes_nothing(self, limits: Limits) -> None:
        await limits.take([ask(8)])
        assert [wait > 0 for wait in await limits.take([ask(5), ask(5), ask(2)])] == [True, True, False]

    async def test_after_the_wait_it_is_granted(self, limits: Limits, pass_time: PassTime) -> None:
        await limits.take([ask(10)])
        (wait,) = await limits.take([ask(3)])
        assert wait == pytest.approx(30, abs=2)
        await pass_time(wait - 5)
        (left,) = await limits.take([ask(3)])
        assert left == pytest.approx(5, abs=2)
        await pass_time(left + 0.1)
        assert await limits.take([ask(3)]) == [0.0]

    async def test_a_bucket_never_holds_more_than_its_burst(self, limits: Limits, pass_time: PassTime) -> None:
        await limits.take([ask(10)])
        await pass_time(1_000)
        assert await limits.take([ask(10)]) == [0.0]
        (wait,) = await limits.take([ask()])
        assert wait > 0

    async def test_more_than_the_burst_is_granted_by_a_full_bucket_which_then_owes_the_rest(
        self, limits: Limits, pass_time: PassTime
    ) -> None:
        assert await limits.take([ask(25)]) == [0.0]
        (wait,) = await limits.take([ask(1)])
        assert wait == pytest.approx(160, abs=2)
        (wait,) = await limits.take([ask(25)])
        assert wait == pytest.approx(250, abs=2)
        await pass_time(251)
        assert await limits.take([ask(25)]) == [0.0]

    async def test_none_asks_how_things_stand_and_takes_nothing(self, limits: Limits) -> None:
        assert await limits.take([ask(0), ask(10), ask(0)]) == [0.0, 0.0, 0.0]
        await limits.take([ask(25, "in debt")])
        (wait,) = await limits.take([ask(0, "in debt")])
        assert wait == pytest.approx(150, abs=2)

    async def test_parts_of_tokens_and_high_rates_are_fine(self, limits: Limits) -> None:
        assert await limits.take([ask(0.5, burst=1), ask(0.5, burst=1)]) == [0.0, 0.0]
        (wait,) = await limits.take([ask(0.5, burst=1)])
        assert wait == pytest.approx(5, abs=2)
        assert await limits.take([ask(100, "fast", rate=1_000_000, burst=1_000)] * 10) == [0.0] * 10

    async def test_a_changed_limit_counts_at_once(self, limits: Limits) -> None:
        await limits.take([ask(10)])
        assert await limits.take([ask(10, burst=20)]) == [0.0]

    async def test_each_key_has_its_own_bucket_and_answers_come_in_order(self, limits: Limits) -> None:
        await limits.take([ask(10, "empty")])
        first, second, third = await limits.take([ask(1, "full"), ask(1, "empty"), ask(1, "other")])
        assert (first, second > 0, third) == (0.0, True, 0.0)
        assert await limits.take([]) == []

    async def test_an_ask_that_makes_no_sense_is_not_made(self) -> None:
        for n, rate, burst in [(1, 0, 10), (1, -1, 10), (1, 1, 0.5), (-1, 1, 10), (1, float("nan"), 10)]:
            with pytest.raises(ValueError, match="must be"):
                Ask("courier", n, rate, burst)

    async def test_a_closed_one_says_that_it_cannot_be_asked(self, limits: Limits) -> None:
        await limits.ping()
        await limits.close()
        with pytest.raises(Unavailable):
            await limits.take([ask()])


class TestMemoryLimits(LimitsContract):
    @pytest.fixture
    def clock(self) -> HandClock:
        return HandClock()

    @pytest.fixture
    def limits(self, clock: HandClock) -> MemoryLimits:
        return MemoryLimits(monotonic=clock.monotonic)

    @pytest.fixture
    def pass_time(self, clock: HandClock) -> PassTime:
        return clock.pass_time


class TestRedisLimits(LimitsContract):
    @pytest.fixture
    async def limits(self, redis_at: RedisAt) -> AsyncIterator[RedisLimits]:
        limits = RedisLimits.open(redis_at.dsn("limits"))
        yield limits
        await limits.close()

    @pytest.fixture
    def pass_time(self, redis_at: RedisAt) -> PassTime:
        return redis_at.pass_time


class TestRedisClusterLimits(LimitsContract):
    @pytest.fixture
    async def limits(self, redis_cluster_at: RedisAt) -> AsyncIterator[RedisLimits]:
        limits = RedisLimits.open(redis_cluster_at.dsn("limits"))
        yield limits
        await limits.close()

    @pytest.fixture
    def pass_time(self, redis_cluster_at: RedisAt) -> PassTime:
        return redis_cluster_at.pass_time
