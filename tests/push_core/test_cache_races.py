"""Whatever comes in between - writes, forgetting, callers that leave, answers out of order, a store that fails - no caller gets a value that is
older than the cache promises, and nobody waits for ever."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from push_core.cache import Cache
from push_core.errors import Unavailable

KEYS = ("a", "b", "c")
TTL_S, STALE_S = 10.0, 20.0

steps = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.lists(st.sampled_from(KEYS), min_size=1, max_size=4)),
        st.tuples(st.just("write"), st.sampled_from(KEYS)),
        st.tuples(st.just("remove"), st.sampled_from(KEYS)),
        st.tuples(st.just("invalidate"), st.sampled_from(KEYS)),
        st.tuples(st.just("leave"), st.integers(0, 5)),
        st.tuples(st.just("answer"), st.integers(0, 5)),
        st.tuples(st.just("fail"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.sampled_from([0.5, 3.0, 8.0])),
        st.tuples(st.just("turn"), st.none()),
    ),
    max_size=60,
)


@dataclass
class Asked:
    keys: list[str]
    task: "asyncio.Task[list[int | None]]"
    at: float
    not_before: dict[str, int]  # by key the number of the newest forgetting before the question


@dataclass
class World:
    """The store's history: each write has a number; a value is the number of its write."""

    stale_s: float
    now: float = 0.0
    number: int = 0
    rows: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(KEYS))
    # by key: (when, write number) at which a value stopped being the store's, in order
    history: dict[str, list[tuple[float, int, int | None]]] = field(
        default_factory=lambda: {key: [(0.0, 0, None)] for key in KEYS}
    )
    forgotten: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KEYS, 0))
    loads: list[tuple[list[str], "asyncio.Future[None]"]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)

    async def load(self, keys: Sequence[str]) -> list[int | None]:
        assert len(set(keys)) == len(keys)
        values = [self.rows[key] for key in keys]
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (list(keys), gate)
        self.loads.append(entry)
        try:
            await gate
        finally:
            self.loads.remove(entry)
        return values

    def set(self, key: str, value: int | None) -> None:
        self.rows[key] = value
        self.history[key].append((self.now, self.number, value))

    def may_be(self, key: str, value: int | None, asked: Asked) -> bool:
        """Whether the value was the store's at some time that the promise allows: no longer ago than the time to live (and what may be served past it),
        nor before the newest forgetting that the caller knew of."""
        entries = self.history[key]
        for place, (_, _, stored) in enumerate(entries):
            if stored != value:
                continue
            until, until_number = (
                entries[place + 1][:2] if place + 1 < len(entries) else (float("inf"), self.number + 1)
            )
            allowed_s = TTL_S + (self.stale_s if value is not None else 0.0)
            if until >= asked.at - allowed_s and until_number > asked.not_before[key]:
                return True
        return False


async def play(script: list[tuple[str, Any]], stale_s: float) -> None:
    world = World(stale_s)
    cache: Cache[str, int] = Cache(
        world.load, ttl_s=TTL_S, size=2, jitter=0.0, stale_s=stale_s, monotonic=lambda: world.now
    )
    for what, arg in script:
        world.number += 1
        if what == "ask":
            task = asyncio.create_task(cache.get_many(arg))
            world.asked.append(Asked(arg, task, world.now, dict(world.forgotten)))
            await asyncio.sleep(0)
        elif what == "write":
            world.set(arg, world.number)
        elif what == "remove":
            world.set(arg, None)
        elif what == "invalidate":
            cache.invalidate(arg)
            world.forgotten[arg] = world.number
        elif what == "leave" and world.asked:
            world.asked[arg % len(world.asked)].task.cancel()
        elif what in ("answer", "fail") and world.loads:
            gate = world.loads[arg % len(world.loads)][1]
            if not gate.done():
                if what == "answer":
                    gate.set_result(None)
                else:
                    gate.set_exception(Unavailable("down"))
        elif what == "wait":
            world.now += arg
        elif what == "turn":
            await asyncio.sleep(0)
        assert len(cache) <= 2
    while world.loads or any(not asked.task.done() for asked in world.asked):
        for _, gate in world.loads:
            if not gate.done():
                gate.set_result(None)
        await asyncio.sleep(0)
    await cache.close()
    for asked in world.asked:
        if asked.task.cancelled():
            continue
        if (error := asked.task.exception()) is not None:
            assert isinstance(error, Unavailable)
            continue
        for key, value in zip(asked.keys, asked.task.result(), strict=True):
            assert world.may_be(key, value, asked), (key, value, asked, world.history[key])


@settings(max_examples=150, deadline=None)
@given(script=steps)
def test_nobody_gets_what_is_older_than_promised_or_waits_for_ever(script: list[tuple[str, Any]]) -> None:
    asyncio.run(play(script, 0.0))


@settings(max_examples=150, deadline=None)
@given(script=steps)
def test_nor_when_older_values_may_be_served_while_the_store_is_away(script: list[tuple[str, Any]]) -> None:
    asyncio.run(play(script, STALE_S))


@settings(max_examples=100, deadline=None)
@given(
    asks=st.lists(st.lists(st.sampled_from(KEYS), min_size=1, max_size=4), min_size=1, max_size=20),
    leave=st.lists(st.booleans(), min_size=20, max_size=20),
)
def test_a_key_is_on_its_way_once_however_many_ask_and_leave(asks: list[list[str]], leave: list[bool]) -> None:
    async def run() -> None:
        world = World(0.0)
        cache: Cache[str, int] = Cache(world.load, ttl_s=TTL_S, size=10, monotonic=lambda: world.now)
        tasks = [asyncio.create_task(cache.get_many(keys)) for keys in asks]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        on_their_way = [key for keys, _ in world.loads for key in keys]
        assert sorted(on_their_way) == sorted({key for keys in asks for key in keys})
        for task, leaves in zip(tasks, leave, strict=False):
            if leaves:
                task.cancel()
        await asyncio.sleep(0)
        for _, gate in world.loads:
            gate.set_result(None)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert all(task.cancelled() == leaves for task, leaves in zip(tasks, leave, strict=False))
        await cache.close()

    asyncio.run(run())
