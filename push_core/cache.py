"""A small cache in front of a store that takes lists: app keys, device rows, nodes.

One load for all who ask at the same time, absent values remembered like present ones, errors neither remembered nor hidden. A load belongs
to the cache and to no request: whoever stops waiting takes only its own waiting with it. Knows nothing of what it holds.
"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Cache(Generic[K, V]):
    """At most `size` keys; the one that was asked for least recently goes.

    `load_many` gets distinct keys and returns one value or None for each, in order; its deadline is its own. A value is served for `ttl_s`
    seconds from before its load began, less a random part of up to `jitter` of that, so that keys loaded together are
    not loaded again together.
    """

    def __init__(
        self,
        load_many: Callable[[Sequence[K]], Awaitable[Sequence[V | None]]],
        *,
        ttl_s: float,
        size: int,
        jitter: float = 0.1,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self._load_many = load_many
        self._ttl_s = ttl_s
        self._size = size
        self._jitter = jitter
        self._monotonic = monotonic
        self._kept: OrderedDict[K, tuple[V | None, float]] = OrderedDict()  # value, until
        self._loading: dict[K, asyncio.Future[V | None]] = {}
        self._loads: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: K) -> V | None:
        """The value, or None if the store has none. Raises what `load_many` raises."""
        kept = self._kept.get(key)
        if kept is not None and kept[1] > self._monotonic():
            self._kept.move_to_end(key)
            return kept[0]
        return (await self.get_many((key,)))[0]

    async def get_many(self, keys: Sequence[K]) -> list[V | None]:
        """As `get` for each key, in order: one call of `load_many` for all that are missing and not on their way already."""
        now = self._monotonic()
        found: dict[K, V | None] = {}
        awaited: dict[K, asyncio.Future[V | None]] = {}
        missing: dict[K, asyncio.Future[V | None]] = {}
        for key in keys:
            kept = self._kept.get(key)
            if kept is not None and kept[1] > now:
                self._kept.move_to_end(key)
                found[key] = kept[0]
            elif key not in awaited:
                loading = self._loading.get(key)
                if loading is None:
                    loading = self._loading[key] = missing[key] = asyncio.get_running_loop().create_future()
                    loading.add_done_callback(_mark_retrieved)
                awaited[key] = loading
        if missing:
            load = asyncio.get_running_loop().create_task(self._load(missing, now), name="cache load")
            self._loads.add(load)
            load.add_done_callback(self._loads.discard)
        if awaited:
            await asyncio.wait(
                awaited.values()
            )  # unlike `await future`, leaves the futures alone when we are cancelled
            for key, future in awaited.items():
                found[key] = future.result()
        return [found[key] for key in keys]

    def invalidate(self, key: K) -> None:
        """Forget the key: whoever asks from now on gets a value loaded after this. Those who wait already get what they asked for."""
        self._kept.pop(key, None)
        self._loading.pop(key, None)

    def clear(self) -> None:
        """`invalidate` for all keys."""
        self._kept.clear()
        self._loading.clear()

    async def close(self) -> None:
        """Wait for loads under way."""
        while self._loads:
            await asyncio.wait(self._loads)

    async def _load(self, wanted: "dict[K, asyncio.Future[V | None]]", began: float) -> None:
        try:
            values = await self._load_many(list(wanted))
            if len(values) != len(wanted):
                raise RuntimeError(f"{len(values)} values loaded for {len(wanted)} keys")
        except BaseException as error:
            # Cancelled too (the program ends): whoever waits must hear of it, or waits for ever.
            for key, future in wanted.items():
                if self._loading.get(key) is future:
                    del self._loading[key]
                if isinstance(error, Exception):
                    future.set_exception(error)
                else:
                    future.cancel()
            if isinstance(error, Exception):
                return
            raise
        for (key, future), value in zip(wanted.items(), values, strict=True):
            if self._loading.get(key) is future:  # else it was invalidated meanwhile: answer, don't keep
                del self._loading[key]
                self._keep(key, value, began)
            future.set_result(value)

    def _keep(self, key: K, value: V | None, began: float) -> None:
        jitter = 1.0 - self._jitter * random.random()  # noqa: S311 - spreads load, guards nothing
        self._kept[key] = value, began + self._ttl_s * jitter
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)


def _mark_retrieved(future: "asyncio.Future[V | None]") -> None:
    if not future.cancelled():
        future.exception()  # all who waited may have gone; that is no error of ours
