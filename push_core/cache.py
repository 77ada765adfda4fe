"""A cache in front of a store that takes lists: app keys, device rows, routes.

One load for all who ask at the same time, absent values remembered like present ones, errors neither remembered nor hidden. A load belongs
to the cache and to no request: whoever stops waiting takes only its own waiting with it. A value that is asked for in the last part of its time is
renewed behind the caller's back, so that for what is asked for all the time nobody ever waits. Knows nothing of what it holds.
"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Generic, TypeVar

import structlog

from push_core.errors import Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics

log = structlog.get_logger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

PATIENCE_S = 1.0
"""How long callers wait for a silent store while there is an older value to serve, and how soon it is asked again after it failed."""
RENEWED_AT_ONCE = 500


class _Kept(Generic[V]):
    """`away`: the store failed when it was asked last."""

    __slots__ = ("away", "renew_from", "until", "value")

    def __init__(self, value: V | None, renew_from: float, until: float) -> None:
        self.value = value
        self.renew_from = renew_from
        self.until = until
        self.away = False


class _Load(Generic[K, V]):
    """One call of the loader: its keys, and their values to come."""

    __slots__ = ("keys", "started", "values")

    def __init__(self) -> None:
        self.keys: list[K] = []
        self.started = False
        self.values: asyncio.Future[dict[K, V | None]] = asyncio.get_running_loop().create_future()
        self.values.add_done_callback(_mark_retrieved)


class Cache(Generic[K, V]):
    """At most `size` keys; the one that was asked for least recently goes.

    `load_many` gets distinct keys and returns one value or None for each, in order; its deadline is its own. A value is served for `ttl_s`
    seconds from before its load began, less a random part of up to `jitter` of that, so that keys loaded together are
    not loaded again together. Who asks for it after the part `renew` of that time has it renewed (1: nobody does). With a `ttl_s` of 0
    nothing is kept, without `absent` nothing of what isn't there.

    `stale_s`: while the store is away (`load_many` raises Unavailable, or is silent for PATIENCE_S) a value is served for so long past its
    time; that is logged, and counted under `name`. Not an absent one: "there is none" would be the wrong end for somebody whose row
    is newer.
    """

    def __init__(
        self,
        load_many: Callable[[Sequence[K]], Awaitable[Sequence[V | None]]],
        *,
        ttl_s: float,
        size: int,
        jitter: float = 0.1,
        renew: float = 0.75,
        absent: bool = True,
        stale_s: float = 0.0,
        name: str = "",
        metrics: Metrics | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        if size < 1:
            raise ValueError(f"size must be at least 1, got {size}")
        self._load_many = load_many
        self._ttl_s = ttl_s
        self._size = size
        self._jitter = jitter
        self._renew = renew
        self._absent = absent
        self._stale_s = stale_s
        self._name = name
        self._metrics = metrics
        self._monotonic = monotonic
        self._kept: OrderedDict[K, _Kept[V]] = OrderedDict()
        self._loading: dict[K, _Load[K, V]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._renewal: _Load[K, V] | None = None  # the next one; it gathers keys while another is under way
        self._renewing = False
        self._said_away = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: K) -> V | None:
        """The value, or None if the store has none. Raises what `load_many` raises."""
        kept = self._kept.get(key)
        if kept is not None and (now := self._monotonic()) < kept.renew_from and now < kept.until:
            self._kept.move_to_end(key)
            return kept.value
        return (await self.get_many((key,)))[0]

    async def get_many(self, keys: Sequence[K]) -> list[V | None]:
        """As `get` for each key, in order: one call of `load_many` for all that are missing and not on their way already."""
        now = self._monotonic()
        values: list[V | None] = []
        missing: dict[K, _Load[K, V]] = {}
        stale = 0
        load: _Load[K, V] | None
        new: _Load[K, V] | None = None
        for key in keys:
            kept = self._kept.get(key)
            if kept is not None and (now < kept.until or (kept.away and self._tides_over(kept, now))):
                stale += now >= kept.until
                if now >= kept.renew_from:
                    self._renew_soon(key)
                self._kept.move_to_end(key)
                values.append(kept.value)
                continue
            values.append(None)
            if key in missing:
                continue
            load = self._loading.get(key)
            if load is None:
                load = new = new or _Load()
                load.keys.append(key)
                self._loading[key] = load
            missing[key] = load
        if stale:
            self._served_stale(stale)
        if not missing:
            return values
        found = await self._found(missing, now)
        return [found.get(key, value) for key, value in zip(keys, values, strict=True)]

    def invalidate(self, key: K) -> None:
        """Forget the key: whoever asks from now on gets a value loaded after this. Those who wait already get what they asked for."""
        self._kept.pop(key, None)
        self._loading.pop(key, None)

    async def close(self) -> None:
        """Wait for loads under way; nothing is renewed any more."""
        self._closed = True
        while self._tasks:
            await asyncio.wait(self._tasks)

    # ── loading ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _found(self, missing: "dict[K, _Load[K, V]]", now: float) -> dict[K, V | None]:
        loads = set(missing.values())
        for load in loads:
            self._start(load)
        older: dict[K, _Kept[V]] = {}
        if self._stale_s:
            for key in missing:
                kept = self._kept.get(key)
                if kept is not None and self._tides_over(kept, now):
                    older[key] = kept
        # Unlike `await future`, this leaves the futures alone when we are cancelled.
        await asyncio.wait({load.values for load in loads}, timeout=PATIENCE_S if len(older) == len(missing) else None)
        found: dict[K, V | None] = {}
        stale = 0
        for key, load in missing.items():
            if key in older and _is_away(load.values):
                older[key].away = True  # nobody else waits
                found[key] = older[key].value
                stale += 1
            else:
                found[key] = load.values.result()[key]
        if stale:
            self._served_stale(stale)
        return found

    def _renew_soon(self, key: K) -> None:
        if key in self._loading or self._closed:
            return
        renewal = self._renewal
        if renewal is None or renewal.started:
            renewal = self._renewal = _Load()
            if not self._renewing:  # a turn of the loop, so that one call renews all that this turn asks for
                asyncio.get_running_loop().call_soon(self._start_renewal)
        if len(renewal.keys) < RENEWED_AT_ONCE:
            renewal.keys.append(key)
            self._loading[key] = renewal

    def _start_renewal(self) -> None:
        renewal, self._renewal = self._renewal, None
        if renewal is not None and not self._closed:
            self._start(renewal).add_done_callback(self._renewed)
            self._renewing = True

    def _renewed(self, _: object) -> None:
        self._renewing = False
        if self._renewal is not None:
            self._start_renewal()

    def _start(self, load: "_Load[K, V]") -> "asyncio.Future[dict[K, V | None]]":
        """Once."""
        if not load.started:
            load.started = True
            task = asyncio.get_running_loop().create_task(
                self._load(load, self._monotonic()), name=f"cache load {self._name}"
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return load.values

    async def _load(self, load: "_Load[K, V]", began: float) -> None:
        try:
            values = await self._load_many(load.keys)
            if len(values) != len(load.keys):
                raise RuntimeError(f"{len(values)} values loaded for {len(load.keys)} keys")
        except BaseException as error:
            self._failed(load, away=isinstance(error, Unavailable))
            # Cancelled too (the program ends): whoever waits must hear of it, or waits for ever.
            if isinstance(error, Exception):
                load.values.set_exception(error)
                return
            load.values.cancel()
            raise
        found = dict(zip(load.keys, values, strict=True))
        for key, value in found.items():
            if self._loading.get(key) is load:  # else it was invalidated meanwhile: answer, don't keep
                del self._loading[key]
                self._keep(key, value, began)
        self._heard()
        load.values.set_result(found)

    def _failed(self, load: "_Load[K, V]", *, away: bool) -> None:
        again_from = self._monotonic() + PATIENCE_S
        for key in load.keys:
            if self._loading.get(key) is load:
                del self._loading[key]
                kept = self._kept.get(key)
                if kept is not None:
                    kept.away = away
                    kept.renew_from = again_from

    def _keep(self, key: K, value: V | None, began: float) -> None:
        if self._ttl_s <= 0 or (value is None and not self._absent):
            self._kept.pop(key, None)
            return
        ttl_s = self._ttl_s * (1.0 - self._jitter * random.random())  # noqa: S311 - spreads load, guards nothing
        self._kept[key] = _Kept(value, began + ttl_s * self._renew, began + ttl_s)
        self._kept.move_to_end(key)
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)

    # ── past its time ─────────────────────────────────────────────────────────────────────────────────────────────────

    def _tides_over(self, kept: _Kept[V], now: float) -> bool:
        return kept.value is not None and now < kept.until + self._stale_s

    def _served_stale(self, count: int) -> None:
        if self._metrics is not None:
            self._metrics.count(Metric.CACHE_STALE, count, cache=self._name)
        if not self._said_away:
            self._said_away = True
            log.warning("the store is away; values past their time are served", cache=self._name, for_s=self._stale_s)

    def _heard(self) -> None:
        if self._said_away:
            self._said_away = False
            log.info("the store answers again", cache=self._name)


def _is_away(values: "asyncio.Future[dict[K, V | None]]") -> bool:
    if not values.done():
        return True
    return not values.cancelled() and isinstance(values.exception(), Unavailable)


def _mark_retrieved(future: "asyncio.Future[dict[K, V | None]]") -> None:
    if not future.cancelled():
        future.exception()  # all who waited may have gone; that is no error of ours
