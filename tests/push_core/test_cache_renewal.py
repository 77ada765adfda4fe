"""What is asked for all the time is renewed behind the callers' backs, and what may be served while the store is away."""

import asyncio
from collections.abc import Sequence

import pytest

from push_core.cache import PATIENCE_S, RENEWED_AT_ONCE, Cache
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics


class Store:
    def __init__(self, **rows: str) -> None:
        self.rows = rows
        self.calls: list[list[str]] = []
        self.error: Exception | None = None
        self.now = 0.0
        self.metrics = MemoryMetrics()
        self.open = asyncio.Event()
        self.open.set()

    async def load(self, keys: Sequence[str]) -> list[str | None]:
        self.calls.append(list(keys))
        answer = [self.rows.get(key) for key in keys]
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return answer

    def cache(self, *, renew: float = 0.75, stale_s: float = 0.0, size: int = 1_000) -> Cache[str, str]:
        return Cache(
            self.load,
            ttl_s=10,
            size=size,
            jitter=0.0,
            renew=renew,
            stale_s=stale_s,
            name="apps",
            metrics=self.metrics,
            monotonic=lambda: self.now,
        )

    @property
    def stale(self) -> int:
        return self.metrics.counted(Metric.CACHE_STALE, cache="apps")


@pytest.fixture
def store() -> Store:
    return Store(a="A", b="B")


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_what_is_asked_for_late_in_its_time_is_renewed_and_nobody_waits(store: Store) -> None:
    cache = store.cache()
    await cache.get("a")
    store.now = 7.4
    await cache.get("a")
    assert store.calls == [["a"]]
    store.now, store.rows["a"] = 7.5, "A2"
    assert await cache.get("a") == "A"
    await turns()
    assert store.calls == [["a"], ["a"]]
    store.now = 16.0
    assert await cache.get("a") == "A2"
    assert len(store.calls) == 2


async def test_what_nobody_asks_for_is_not_renewed(store: Store) -> None:
    cache = store.cache()
    await cache.get("a")
    store.now = 9.9
    await turns()
    assert store.calls == [["a"]]


async def test_with_renew_1_nothing_is_renewed_before_its_time_is_over(store: Store) -> None:
    cache = store.cache(renew=1.0)
    await cache.get("a")
    store.now = 9.99
    await cache.get("a")
    await turns()
    assert store.calls == [["a"]]


async def test_all_that_is_due_in_one_turn_is_renewed_by_one_call(store: Store) -> None:
    cache = store.cache()
    await cache.get_many(["a", "b", "x"])
    store.now = 8.0
    for key in ("a", "x", "a", "b"):
        await cache.get(key)
    await turns()
    assert store.calls[1:] == [["a", "x", "b"]]


async def test_one_renewal_is_under_way_at_a_time_and_the_next_gathers_meanwhile(store: Store) -> None:
    cache = store.cache()
    await cache.get_many(["a", "b", "c"])
    store.now = 8.0
    store.open.clear()
    for key in ("a", "b", "c", "a"):
        await cache.get(key)
        await turns()
    assert store.calls[1:] == [["a"]]
    store.open.set()
    await turns()
    assert store.calls[1:] == [["a"], ["b", "c"]]


async def test_who_needs_a_value_does_not_wait_for_the_renewal_before_its_own(store: Store) -> None:
    cache = store.cache()
    await cache.get_many(["a", "b"])
    store.now = 8.0
    store.open.clear()
    await cache.get("a")
    await turns()
    await cache.get("b")  # gathered behind the renewal of a
    store.now = 11.0
    asking = asyncio.create_task(cache.get("b"))
    await turns()
    assert store.calls[1:] == [["a"], ["b"]]
    store.open.set()
    assert await asking == "B"
    await turns()
    assert len(store.calls) == 3


async def test_a_renewal_has_a_bound(store: Store) -> None:
    cache = store.cache(size=2 * RENEWED_AT_ONCE)
    keys = [str(number) for number in range(RENEWED_AT_ONCE + 10)]
    await cache.get_many(keys)
    store.now = 8.0
    await cache.get_many(keys)
    await turns()
    await cache.get_many(keys)
    await turns()
    assert [len(call) for call in store.calls[1:]] == [RENEWED_AT_ONCE, 10]


async def test_a_renewal_that_fails_costs_nothing_until_the_value_runs_out_and_hides_nothing_then(store: Store) -> None:
    cache = store.cache()
    await cache.get("a")
    store.now, store.error = 8.0, Unavailable("down")
    assert await cache.get("a") == "A"
    await turns()
    assert await cache.get("a") == "A"
    await turns()
    assert len(store.calls) == 2, "it is not asked again at once"
    store.now = 8.0 + PATIENCE_S
    await cache.get("a")
    await turns()
    assert len(store.calls) == 3
    store.now = 10.0
    with pytest.raises(Unavailable):
        await cache.get("a")


async def test_a_key_that_is_invalidated_while_it_is_renewed_is_loaded_again(store: Store) -> None:
    cache = store.cache()
    await cache.get("a")
    store.now = 8.0
    store.open.clear()
    await cache.get("a")
    await turns()
    store.rows["a"] = "A2"
    cache.invalidate("a")
    store.open.set()
    assert await cache.get("a") == "A2"
    await turns()
    assert await cache.get("a") == "A2"


async def test_after_close_nothing_is_renewed(store: Store) -> None:
    cache = store.cache()
    await cache.get("a")
    await cache.close()
    store.now = 8.0
    assert await cache.get("a") == "A"
    await turns()
    assert len(store.calls) == 1


# ── while the store is away ───────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("error", [Unavailable("down"), DeadlineExceeded("silent")])
async def test_while_the_store_is_away_a_value_is_served_for_a_time_past_its_own(
    store: Store, error: Unavailable
) -> None:
    cache = store.cache(stale_s=30)
    await cache.get("a")
    store.error = error
    for store.now in (10.0, 20.0, 39.9):
        assert await cache.get("a") == "A"
        await turns()
    assert store.stale == 3
    store.now = 40.0
    with pytest.raises(Unavailable):
        await cache.get("a")


async def test_an_absent_value_is_not_served_past_its_time(store: Store) -> None:
    cache = store.cache(stale_s=30)
    await cache.get("x")
    store.now, store.error = 10.0, Unavailable("down")
    with pytest.raises(Unavailable):
        await cache.get("x")


async def test_a_fault_of_the_code_is_never_covered_up_by_an_older_value(store: Store) -> None:
    cache = store.cache(stale_s=30)
    await cache.get("a")
    store.now, store.error = 10.0, RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await cache.get("a")


async def test_one_caller_waits_a_little_for_a_silent_store_and_the_others_not_at_all(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("push_core.cache.PATIENCE_S", 0.01)
    cache = store.cache(stale_s=30)
    await cache.get("a")
    store.open.clear()
    store.now = 10.0
    assert await cache.get("a") == "A"
    assert store.calls == [["a"], ["a"]]
    asked = [asyncio.create_task(cache.get("a")) for _ in range(10)]
    await turns()
    assert all(task.done() and task.result() == "A" for task in asked)
    assert len(store.calls) == 2
    assert store.stale == 11
    store.open.set()
    await turns()


async def test_a_value_that_was_never_there_is_waited_for_whatever_else_is(store: Store) -> None:
    cache = store.cache(stale_s=30)
    await cache.get("a")
    store.open.clear()
    store.now = 10.0
    asking = asyncio.create_task(cache.get_many(["a", "b"]))
    await turns()
    store.open.set()
    assert await asking == ["A", "B"]


async def test_when_the_store_is_back_its_values_are_served_again(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = store.cache(stale_s=30)
    await cache.get("a")
    store.now, store.error = 10.0, Unavailable("down")
    for _ in range(3):
        await cache.get("a")
    store.error, store.rows["a"] = None, "A2"
    store.now = 10.0 + PATIENCE_S
    await cache.get("a")
    await turns()
    assert await cache.get("a") == "A2"
    said = capsys.readouterr().out
    assert said.count("the store is away") == 1
    assert said.count("the store answers again") == 1


async def test_a_value_that_was_invalidated_is_not_served_while_the_store_is_away(store: Store) -> None:
    cache = store.cache(stale_s=30)
    await cache.get("a")
    store.error = Unavailable("down")
    cache.invalidate("a")
    with pytest.raises(Unavailable):
        await cache.get("a")


async def test_with_no_time_to_live_nothing_is_kept_for_an_outage_either(store: Store) -> None:
    cache: Cache[str, str] = Cache(store.load, ttl_s=0, size=10, stale_s=30)
    await cache.get("a")
    assert len(cache) == 0
