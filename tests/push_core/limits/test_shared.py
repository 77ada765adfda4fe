import asyncio
from collections.abc import Sequence

import pytest

from push_core.errors import Unavailable
from push_core.limits.memory import MemoryLimits
from push_core.limits.port import Ask
from push_core.limits.shared import SharedBuckets
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from tests.support.hand_clock import HandClock


class Store(MemoryLimits):
    """Counts its calls; fails with `error`; answers when `open` is set."""

    def __init__(self, clock: HandClock) -> None:
        super().__init__(monotonic=clock.monotonic)
        self.calls: list[int] = []
        self.error: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def take(self, asks: Sequence[Ask]) -> list[float]:
        self.calls.append(len(asks))
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return await super().take(asks)


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def store(clock: HandClock) -> Store:
    return Store(clock)


@pytest.fixture
def metrics() -> MemoryMetrics:
    return MemoryMetrics()


@pytest.fixture
def buckets(store: Store, metrics: MemoryMetrics, clock: HandClock) -> SharedBuckets:
    return SharedBuckets(store, metrics, timeout_s=5.0, away_s=1.0, share=0.5, monotonic=clock.monotonic)


def ask(n: float = 1, key: str = "app:demo", *, rate: float = 10, burst: float = 10) -> Ask:
    return Ask(key, n, rate, burst)


async def test_the_asks_of_a_moment_are_one_call(store: Store, buckets: SharedBuckets) -> None:
    waits = await asyncio.gather(*(buckets.take(ask(key=f"app:{n % 5}")) for n in range(60)))
    assert store.calls == [60]
    assert [wait > 0 for wait in waits] == [False] * 50 + [True] * 10


async def test_two_processes_share_a_bucket(store: Store, metrics: MemoryMetrics, clock: HandClock) -> None:
    one, other = (
        SharedBuckets(store, metrics, timeout_s=5.0, away_s=1.0, share=0.5, monotonic=clock.monotonic) for _ in range(2)
    )
    assert [await one.take(ask(6)), await other.take(ask(4))] == [0.0, 0.0]
    assert await one.take(ask()) == pytest.approx(0.1)
    assert await other.take(ask()) == pytest.approx(0.1)


async def test_who_was_refused_is_refused_from_memory_until_its_wait_is_over(
    store: Store, buckets: SharedBuckets, clock: HandClock
) -> None:
    await buckets.take(ask(10))
    assert await buckets.take(ask(5)) == pytest.approx(0.5)
    asked = len(store.calls)
    clock.advance(0.2)
    assert await buckets.take(ask(5)) == pytest.approx(0.3)
    assert await buckets.take(ask(9)) == pytest.approx(0.3)
    assert len(store.calls) == asked
    assert await buckets.take(ask(2)) == 0.0, "less was not refused: the store is asked"
    clock.advance(0.6)
    assert await buckets.take(ask(5)) == 0.0


async def test_a_changed_rate_counts_at_once(buckets: SharedBuckets) -> None:
    await buckets.take(ask(10))
    assert await buckets.take(ask(5)) > 0
    assert buckets.refused_s(ask(5)) > 0
    assert buckets.refused_s(ask(5, rate=1_000, burst=1_000)) == 0.0


@pytest.mark.parametrize("error", [Unavailable("down")])
async def test_while_the_store_is_away_each_process_grants_its_share(
    store: Store, buckets: SharedBuckets, metrics: MemoryMetrics, clock: HandClock, error: Unavailable
) -> None:
    store.error = error
    granted = 0
    for _ in range(20):
        granted += await buckets.take(ask()) == 0.0
    assert granted == 5
    assert metrics.counted(Metric.LIMITS_LOCAL) >= 6
    assert len(store.calls) == 1, "it is left alone for a while"
    clock.advance(1.0)
    assert await buckets.take(ask()) == 0.0
    assert len(store.calls) == 2
    store.error = None
    clock.advance(1.0)
    assert await buckets.take(ask(10)) == 0.0, "the store's own bucket is full"


async def test_a_slow_store_holds_nobody_up_for_long(store: Store, metrics: MemoryMetrics, clock: HandClock) -> None:
    buckets = SharedBuckets(store, metrics, timeout_s=0.01, away_s=1.0, share=0.5, monotonic=clock.monotonic)
    store.open.clear()
    assert await asyncio.gather(*(buckets.take(ask()) for _ in range(3))) == [0.0] * 3
    assert metrics.counted(Metric.LIMITS_LOCAL) == 3


async def test_an_app_over_its_limit_does_not_slow_the_others_nor_burden_the_store(
    store: Store, buckets: SharedBuckets
) -> None:
    for _ in range(10):
        await buckets.take(ask())
    before = len(store.calls)
    for _ in range(1_000):
        assert await buckets.take(ask()) > 0
        assert buckets.refused_s(ask(key="app:other")) == 0.0
    assert len(store.calls) == before + 1
    assert await buckets.take(ask(key="app:other")) == 0.0


async def test_a_caller_that_goes_away_takes_nobody_elses_answer_with_it(store: Store, buckets: SharedBuckets) -> None:
    store.open.clear()
    first, second = asyncio.create_task(buckets.take(ask())), asyncio.create_task(buckets.take(ask()))
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    store.open.set()
    assert await second == 0.0
    await buckets.close()
