"""One message store made of several, each with a range of shards: `Messages` over `Messages` (docs/decisions/0015-one-dsn-a-shard-range.md).

A message, its deliveries, inbox rows and later work live in the store that has its id's shard, so each transaction stays in one. What is
asked about devices is asked of every store at the same time. Issuer leases and cursors of a whole live in the first.

When one store is away the others go on: what belongs to them is done, and the answer says which part was not (`Partly`). Readers that
keep a place (the relay) read store by store (`stores`).
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self, TypeVar

from push_core.clock import WallMs
from push_core.envelope import Envelope
from push_core.errors import DeadlineExceeded, TacoError, Unavailable
from push_core.ids import SHARDS, shard_of
from push_core.lifecycle import Reason
from push_core.messages.port import (
    Applied,
    Change,
    Commit,
    Committed,
    Ended,
    InboxAsk,
    InboxPage,
    InboxRow,
    IssuerLease,
    Later,
    Messages,
    MessageView,
    NewMessage,
    NodeCount,
    Outcome,
    Partly,
    Recalled,
    Standing,
    TooLate,
)
from push_core.models import DeviceKey

T = TypeVar("T")
R = TypeVar("R")
Ask = Callable[[Messages, Sequence[T]], Awaitable[Sequence[R]]]


class Store(NamedTuple):
    messages: Messages
    shards: frozenset[int]


class ShardedMessages(Messages):
    """Takes its stores over; each shard has one."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = [store.messages for store in stores]
        self._of = [0] * SHARDS
        for number, store in enumerate(stores):
            for shard in store.shards:
                self._of[shard] = number
        self._away: set[int] = set()  # those that failed when they were last asked

    @classmethod
    async def open(cls, stores: Sequence[Store]) -> Self:
        """Raises Unavailable when none of the stores answers; one is enough to begin with."""
        made = cls(stores)
        try:
            await made._everywhere(lambda store: store.ping())
        except BaseException:
            await made.close()
            raise
        return made

    def stores(self) -> Sequence[Messages]:
        return self._stores

    def store_of(self, message_id: int) -> int:
        return self._of[shard_of(message_id)]

    # ── acceptance ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def commit(self, batch: Sequence[NewMessage], *, now: WallMs, oldest_ms: int = 5_000) -> list[Committed]:
        """Of a store that certainly took nothing, messages without a key are answered `collision`: with a new id they go to another one."""

        def failed(item: NewMessage, error: TacoError) -> Committed | TacoError:
            elsewhere = len(self._away) < len(self._stores)
            if elsewhere and item.idempotency_key is None and not isinstance(error, DeadlineExceeded | TooLate):
                return Committed(Commit.COLLISION, item.envelope.id)
            return error

        return await self._write(
            batch,
            lambda item: item.envelope.id,
            lambda store, items: store.commit(items, now=now, oldest_ms=oldest_ms),
            failed,
        )

    async def get(
        self, asks: Sequence[tuple[str, int]], *, after: str | None = None, limit: int = 100
    ) -> list[MessageView | None]:
        return await self._read(asks, lambda ask: ask[1], lambda store, some: store.get(some, after=after, limit=limit))

    async def recall(self, asks: Sequence[tuple[str, int]], *, now: WallMs) -> list[Recalled | None]:
        return await self._write(asks, lambda ask: ask[1], lambda store, some: store.recall(some, now=now))

    # ── what a dispatcher asks and tells ─────────────────────────────────────────────────────────────────────────────

    async def envelopes(self, ids: Sequence[int]) -> list[Envelope | None]:
        return await self._read(ids, lambda message_id: message_id, lambda store, some: store.envelopes(some))

    async def standings(self, keys: Sequence[tuple[int, str, str]]) -> list[Standing | None]:
        return await self._read(keys, lambda key: key[0], lambda store, some: store.standings(some))

    async def recalled(self, ids: Sequence[int]) -> set[int]:
        async def ask(store: Messages, some: Sequence[int]) -> list[bool]:
            found = await store.recalled(some)
            return [one in found for one in some]

        answers = await self._read(ids, lambda message_id: message_id, ask)
        return {one for one, is_recalled in zip(ids, answers, strict=True) if is_recalled}

    async def expand(self, pages: Sequence[tuple[int, str, Sequence[str]]], *, now: WallMs) -> None:
        await self._write(pages, lambda key: key[0], lambda store, some: _none(store.expand(some, now=now), some))

    async def expanded(self, ends: Sequence[tuple[int, str, Reason | None]], *, now: WallMs) -> None:
        await self._write(ends, lambda key: key[0], lambda store, some: _none(store.expanded(some, now=now), some))

    async def count(self, counts: Sequence[NodeCount]) -> None:
        await self._write(counts, lambda each: each.id, lambda store, some: _none(store.count(some), some))

    async def apply(self, changes: Sequence[Change], *, now: WallMs) -> Outcome:
        ended: list[Ended] = []

        async def ask(store: Messages, some: Sequence[Change]) -> list[Applied]:
            outcome = await store.apply(some, now=now)
            ended.extend(outcome.ended)
            return outcome.applied

        try:
            return Outcome(await self._write(changes, lambda change: change.id, ask), ended)
        except Partly as partly:
            partly.ended = ended
            raise

    # ── inbox ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def inbox(self, asks: Sequence[InboxAsk], *, now: WallMs) -> list[InboxPage]:
        """Pages of a store that is away are left out, and `partial` says so."""
        answers = await self._everywhere(lambda store: store.inbox(asks, now=now))
        partial = len(answers) < len(self._stores)
        pages = []
        for ask, found in zip(asks, zip(*answers, strict=True), strict=True):
            rows = sorted((row for page in found for row in page.rows), key=_inbox_order)
            pages.append(InboxPage(rows[: ask.limit], sum(page.waiting for page in found), partial))
        return pages

    async def waiting(self, devices: Sequence[DeviceKey]) -> list[int]:
        answers = await self._everywhere(lambda store: store.waiting(devices), all_of_them=True)
        return [sum(counts) for counts in zip(*answers, strict=True)]

    async def recalls_shown(self, rows: Sequence[tuple[str, str, int]]) -> None:
        await self._write(rows, lambda row: row[2], lambda store, some: _none(store.recalls_shown(some), some))

    # ── time: `limit` counts for each store, and one that is away keeps what it has ──────────────────────────────────────

    async def expire(self, *, now: WallMs, limit: int = 1_000) -> list[Ended]:
        answers = await self._everywhere(lambda store: store.expire(now=now, limit=limit))
        return [ended for answer in answers for ended in answer]

    async def put_later(self, rows: Sequence[Later]) -> None:
        await self._write(rows, lambda row: row.id, lambda store, some: _none(store.put_later(some), some))

    async def take_later(self, *, now: WallMs, hold_ms: int, limit: int = 500) -> list[Later]:
        answers = await self._everywhere(lambda store: store.take_later(now=now, hold_ms=hold_ms, limit=limit))
        return [row for answer in answers for row in answer]

    async def drop_later(self, rows: Sequence[Later]) -> None:
        await self._write(rows, lambda row: row.id, lambda store, some: _none(store.drop_later(some), some))

    async def open_between(
        self, first_id: int, last_id: int, *, after: tuple[int, str] = (0, ""), limit: int = 1_000
    ) -> list[tuple[int, str, str]]:
        answers = await self._everywhere(
            lambda store: store.open_between(first_id, last_id, after=after, limit=limit), all_of_them=True
        )
        return sorted((row for rows in answers for row in rows), key=lambda row: (row[0], row[2]))[:limit]

    async def cursor(self, name: str) -> int:
        return await self._stores[0].cursor(name)

    async def move_cursor(self, name: str, to: int) -> None:
        await self._stores[0].move_cursor(name, to)

    async def prune(self, before_id: int, *, limit: int = 1_000) -> int:
        return sum(await self._everywhere(lambda store: store.prune(before_id, limit=limit)))

    # ── issuer leases ────────────────────────────────────────────────────────────────────────────────────────────────

    async def lease_issuer(self, holder: str, *, now: WallMs, ttl_ms: int) -> IssuerLease:
        return await self._stores[0].lease_issuer(holder, now=now, ttl_ms=ttl_ms)

    async def renew_issuer(
        self, lease: IssuerLease, *, high_water_ms: WallMs, now: WallMs, ttl_ms: int
    ) -> IssuerLease | None:
        return await self._stores[0].renew_issuer(lease, high_water_ms=high_water_ms, now=now, ttl_ms=ttl_ms)

    async def release_issuer(self, lease: IssuerLease, *, high_water_ms: WallMs) -> None:
        await self._stores[0].release_issuer(lease, high_water_ms=high_water_ms)

    async def ping(self) -> None:
        """Raises Unavailable when one of them can't be asked, naming it."""
        await self._everywhere(lambda store: store.ping(), all_of_them=True)

    async def close(self) -> None:
        await asyncio.gather(*[store.close() for store in self._stores])

    # ── to one store each, or to all ─────────────────────────────────────────────────────────────────────────────────

    async def _read(self, items: Sequence[T], id_of: Callable[[T], int], ask: Ask[T, R]) -> list[R]:
        results, errors = await self._scatter(items, id_of, ask)
        if errors:
            raise errors[0][1]
        return results

    async def _write(
        self,
        items: Sequence[T],
        id_of: Callable[[T], int],
        ask: Ask[T, R],
        failed: Callable[[T, TacoError], R | TacoError] = lambda _, error: error,
    ) -> list[R]:
        """Raises Partly when some stores did their part and others not, what a store raised when none did. `failed` may find an answer for
        an item whose store failed."""
        results, errors = await self._scatter(items, id_of, ask)
        if not errors:
            return results
        mixed: list[Any] = list(results)
        for places, error in errors:
            for place in places:
                mixed[place] = failed(items[place], error)
        without = [result for result in mixed if isinstance(result, TacoError)]
        if not without:
            return mixed
        if len(without) == len(mixed):
            raise next((error for error in without if isinstance(error, DeadlineExceeded)), without[0])
        raise Partly(without[0].message, mixed)

    async def _scatter(
        self, items: Sequence[T], id_of: Callable[[T], int], ask: Ask[T, R]
    ) -> tuple[list[R], list[tuple[list[int], TacoError]]]:
        """Results in the order of the items, and for each store that failed the places of its items. What is no TacoError is raised when
        all have answered."""
        places: dict[int, list[int]] = {}
        for place, item in enumerate(items):
            places.setdefault(self._of[shard_of(id_of(item))], []).append(place)
        answers = await self._gather(
            {
                number: ask(
                    self._stores[number], items if len(mine) == len(items) else [items[place] for place in mine]
                )
                for number, mine in places.items()
            }
        )
        results: list[Any] = [None] * len(items)
        errors: list[tuple[list[int], TacoError]] = []
        for number, mine in places.items():
            answer = answers[number]
            if isinstance(answer, TacoError):
                errors.append((mine, answer))
            else:
                for place, result in zip(mine, answer, strict=True):
                    results[place] = result
        return results, errors

    async def _everywhere(self, ask: Callable[[Messages], Awaitable[R]], *, all_of_them: bool = False) -> list[R]:
        """What the stores that answer say; raises when none does, or with `all_of_them` when one doesn't."""
        answers = await self._gather({number: ask(store) for number, store in enumerate(self._stores)})
        errors = [answer for answer in answers.values() if isinstance(answer, TacoError)]
        if errors and (all_of_them or len(errors) == len(answers)):
            raise errors[0]
        return [answer for answer in answers.values() if not isinstance(answer, TacoError)]

    async def _gather(self, asked: Mapping[int, Awaitable[R]]) -> dict[int, R | TacoError]:
        """All at the same time, by the number of the store."""
        answers = dict(zip(asked, await asyncio.gather(*asked.values(), return_exceptions=True), strict=True))
        self._away = {n for n in self._away if n not in answers} | {
            n for n, answer in answers.items() if isinstance(answer, Unavailable) and not isinstance(answer, TooLate)
        }
        found: dict[int, R | TacoError] = {}
        for number, answer in answers.items():
            if isinstance(answer, BaseException) and not isinstance(answer, TacoError):
                raise answer
            found[number] = answer
        return found


async def _none(call: Awaitable[None], some: Sequence[Any]) -> Sequence[None]:
    await call
    return [None] * len(some)


def _inbox_order(row: InboxRow) -> tuple[int, int, bool]:
    return row.priority, row.id, row.recall
