import asyncio
import gc
from collections.abc import Sequence

import pytest

from push_core.cache import Cache
from push_core.errors import Unavailable


class Store:
    """Counts its calls; answers when `open` is set."""

    def __init__(self, rows: dict[str, str]) -> None:
        self.rows = rows
        self.calls: list[list[str]] = []
        self.error: Exception | None = None
        self.now = 0.0
        self.open = asyncio.Event()
        self.open.set()

    async def load(self, keys: Sequence[str]) -> list[str | None]:
        self.calls.append(list(keys))
        answer = [self.rows.get(key) for key in keys]
        await self.open.wait()
        if self.error is not None:
            raise self.error
        return answer

    def cache(self, *, ttl_s: float = 10, size: int = 100, jitter: float = 0.0) -> Cache[str, str]:
        return Cache(self.load, ttl_s=ttl_s, size=size, jitter=jitter, monotonic=lambda: self.now)


@pytest.fixture
def store() -> Store:
    return Store({"a": "A", "b": "B"})


async def test_a_value_is_loaded_once_within_its_time_to_live(store: Store) -> None:
    cache = store.cache(ttl_s=10)
    assert [await cache.get("a"), await cache.get("a")] == ["A", "A"]
    store.now = 9.9
    await cache.get("a")
    assert store.calls == [["a"]]
    store.now = 10.0
    store.rows["a"] = "A2"
    assert await cache.get("a") == "A2"


async def test_an_absent_value_is_remembered_like_any_other(store: Store) -> None:
    cache = store.cache()
    assert [await cache.get("x"), await cache.get("x")] == [None, None]
    assert store.calls == [["x"]]


async def test_many_keys_cost_one_call_for_the_missing_ones(store: Store) -> None:
    cache = store.cache()
    await cache.get("a")
    assert await cache.get_many(["b", "a", "x", "b"]) == ["B", "A", None, "B"]
    assert store.calls == [["a"], ["b", "x"]]
    assert await cache.get_many([]) == []


async def test_all_who_ask_at_the_same_time_share_one_load(store: Store) -> None:
    cache = store.cache()
    store.open.clear()
    asking = [asyncio.create_task(cache.get("a")) for _ in range(20)]
    asking_more = asyncio.create_task(cache.get_many(["a", "b"]))
    await asyncio.sleep(0)
    store.open.set()
    assert await asyncio.gather(*asking) == ["A"] * 20
    assert await asking_more == ["A", "B"]
    assert store.calls == [["a"], ["b"]]


async def test_a_caller_that_is_cancelled_does_not_cancel_the_load_that_others_wait_for(store: Store) -> None:
    cache = store.cache()
    store.open.clear()
    first, second = asyncio.create_task(cache.get("a")), asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    store.open.set()
    assert await second == "A"
    assert await cache.get("a") == "A"
    assert store.calls == [["a"]]


async def test_a_load_whose_only_caller_left_still_fills_the_cache(store: Store) -> None:
    cache = store.cache()
    store.open.clear()
    asking = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    store.open.set()
    await cache.close()
    assert len(cache) == 1


async def test_an_error_reaches_all_who_wait_and_is_not_remembered(store: Store) -> None:
    cache = store.cache()
    store.error = Unavailable("down")
    one, many = await asyncio.gather(cache.get("a"), cache.get_many(["a", "b"]), return_exceptions=True)
    assert one is store.error
    assert many is store.error
    store.error = None
    assert await cache.get_many(["a", "b"]) == ["A", "B"]


async def test_an_error_that_nobody_waits_for_any_more_makes_no_noise(store: Store) -> None:
    noise: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noise.append(context["message"]))
    cache = store.cache()
    store.error = Unavailable("down")
    store.open.clear()
    asking = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    asking.cancel()
    await asyncio.wait({asking})
    store.open.set()
    await cache.close()
    assert len(cache) == 0
    gc.collect()
    assert noise == []


async def test_an_expired_value_is_never_served_in_place_of_an_error(store: Store) -> None:
    cache = store.cache(ttl_s=1)
    await cache.get("a")
    store.now, store.error = 2.0, Unavailable("down")
    with pytest.raises(Unavailable):
        await cache.get("a")


async def test_after_invalidate_the_next_caller_gets_what_the_store_has_now(store: Store) -> None:
    cache = store.cache()
    await cache.get("a")
    store.rows["a"] = "A2"
    cache.invalidate("a")
    cache.invalidate("never seen")
    assert await cache.get("a") == "A2"


async def test_a_load_that_began_before_invalidate_is_answered_but_not_kept(store: Store) -> None:
    cache = store.cache()
    store.open.clear()
    before = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    store.rows["a"] = "A2"
    cache.invalidate("a")
    after = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    store.open.set()
    assert [await before, await after] == ["A", "A2"]
    assert await cache.get("a") == "A2"
    assert store.calls == [["a"], ["a"]]


async def test_the_key_that_was_asked_for_least_recently_goes_first(store: Store) -> None:
    cache = store.cache(size=2)
    await cache.get_many(["a", "b"])
    await cache.get("a")
    await cache.get("c")
    assert len(cache) == 2
    await cache.get("a")
    await cache.get("b")
    assert store.calls == [["a", "b"], ["c"], ["b"]]


async def test_more_keys_than_fit_are_all_answered(store: Store) -> None:
    cache = store.cache(size=1)
    assert await cache.get_many(["a", "b", "x"]) == ["A", "B", None]
    assert len(cache) == 1


async def test_jitter_only_ever_shortens_the_time_to_live(store: Store) -> None:
    cache = store.cache(ttl_s=10, jitter=0.5)
    keys = [str(n) for n in range(50)]
    await cache.get_many(keys)
    store.now = 4.9
    await cache.get_many(keys)
    assert len(store.calls) == 1
    store.now = 7.5
    await cache.get_many(keys)
    assert 0 < len(store.calls[1]) < 50
    store.now = 10.0
    await cache.get_many([key for key in keys if key not in store.calls[1]])
    assert len(store.calls[2]) == 50 - len(store.calls[1])


async def test_the_time_to_live_counts_from_before_the_load(store: Store) -> None:
    cache = store.cache(ttl_s=10)
    store.open.clear()
    asking = asyncio.create_task(cache.get("a"))
    await asyncio.sleep(0)
    store.now = 8.0
    store.open.set()
    await asking
    store.now = 10.0
    await cache.get("a")
    assert len(store.calls) == 2


async def test_a_loader_that_answers_for_too_few_keys_is_an_error_and_nothing_is_kept() -> None:
    async def short(keys: Sequence[str]) -> list[str | None]:
        return ["only one"]

    cache: Cache[str, str] = Cache(short, ttl_s=1, size=10)
    with pytest.raises(RuntimeError, match="1 values loaded for 2 keys"):
        await cache.get_many(["a", "b"])
    assert len(cache) == 0


def test_a_cache_without_room_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="size"):
        store.cache(size=0)
