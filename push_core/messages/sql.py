"""The message store in SQL: a method is one transaction of functions in `push_core/sql/`. Threads are the adapter's affair."""

import time
from collections.abc import Sequence
from typing import Self

from push_core.clock import WallMs
from push_core.envelope import Envelope
from push_core.fuse import MakeFuse
from push_core.ids import time_of
from push_core.lifecycle import Reason
from push_core.messages.port import (
    Change,
    Committed,
    Ended,
    InboxAsk,
    InboxPage,
    IssuerLease,
    Later,
    Messages,
    MessageView,
    NewMessage,
    NodeCount,
    Outcome,
    Recalled,
    Standing,
    TooLate,
)
from push_core.models import DeviceKey
from push_core.sql import acceptance, broadcasts, expansion, inbox, later, leases, moves, relay, views
from push_core.sql.database import Database
from push_core.sql.mysql.partitions import Partitions
from push_core.sql.recall import recall


class SqlMessages(Messages):
    """`SqlMessages.open("sqlite:///data/messages.sqlite")`; `sqlite://` keeps everything in memory; `mysql://…` is a server."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._partitions = Partitions(database.options.partition_days) if database.options else None

    @classmethod
    async def open(cls, dsn: str, *, readers: int = 2, fuse: MakeFuse | None = None, must_answer: bool = True) -> Self:
        """Raises ConfigError for a bad DSN and for tables of another release, Unavailable when the store can't be used now; a server that
        need not answer yet is looked at when it does."""
        return cls(await Database.open(dsn, "messages", readers=readers, writers=2, fuse=fuse, must_answer=must_answer))

    def stores(self) -> Sequence[Messages]:
        return (self,)

    def store_of(self, message_id: int) -> int:  # noqa: ARG002
        return 0

    # ── acceptance ──────────────────────────────────────────────────────────────────────────────────────────────────

    async def commit(self, batch: Sequence[NewMessage], *, now: WallMs, oldest_ms: int = 5_000) -> list[Committed]:
        if not batch:
            return []
        oldest = time_of(min(item.envelope.id for item in batch))
        called = time.monotonic()

        def check_age() -> None:
            # `now` was true when the call was made; it may have waited for its turn since.
            age = now + int((time.monotonic() - called) * 1_000) - oldest
            if age > oldest_ms:
                raise TooLate(f"ids are {age} ms old (limit {oldest_ms} ms): too late to commit them")

        return await self._db.write(lambda conn: acceptance.commit(conn, batch, now), before_commit=check_age)

    async def get(
        self, asks: Sequence[tuple[str, int]], *, after: str | None = None, limit: int = 100
    ) -> list[MessageView | None]:
        return await self._db.read(lambda conn: views.views(conn, asks, after, limit))

    async def recall(self, asks: Sequence[tuple[str, int]], *, now: WallMs) -> list[Recalled | None]:
        return await self._db.write(lambda conn: [recall(conn, app, item, now) for app, item in asks])

    # ── what a dispatcher asks and tells ─────────────────────────────────────────────────────────────────────────────

    async def envelopes(self, ids: Sequence[int]) -> list[Envelope | None]:
        return await self._db.read(lambda conn: views.envelopes(conn, ids))

    async def standings(self, keys: Sequence[tuple[int, str, str]]) -> list[Standing | None]:
        return await self._db.read(lambda conn: views.standings(conn, keys))

    async def recalled(self, ids: Sequence[int]) -> set[int]:
        return await self._db.read(lambda conn: views.recalled(conn, ids))

    async def expand(self, pages: Sequence[tuple[int, str, Sequence[str]]], *, now: WallMs) -> None:
        await self._db.write(lambda conn: expansion.expand(conn, pages, now))

    async def expanded(self, ends: Sequence[tuple[int, str, Reason | None]], *, now: WallMs) -> None:
        await self._db.write(lambda conn: expansion.expanded(conn, ends, now))

    async def count(self, counts: Sequence[NodeCount]) -> None:
        await self._db.write(lambda conn: broadcasts.count(conn, counts))

    async def apply(self, changes: Sequence[Change], *, now: WallMs) -> Outcome:
        if not changes:
            return Outcome([], [])
        return await self._db.write(lambda conn: moves.apply(conn, changes, now))

    # ── inbox ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def inbox(self, asks: Sequence[InboxAsk], *, now: WallMs) -> list[InboxPage]:
        return await self._db.read(lambda conn: inbox.read(conn, asks, now))

    async def waiting(self, devices: Sequence[DeviceKey]) -> list[int]:
        counts = await self._db.read(lambda conn: inbox.waiting(conn, devices))
        return [counts[app, device] for app, device in devices]

    async def recalls_shown(self, rows: Sequence[tuple[str, str, int]]) -> None:
        await self._db.write(lambda conn: inbox.remove(conn, [(*row, 1) for row in rows]))

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def expire(self, *, now: WallMs, limit: int = 1_000) -> list[Ended]:
        return await self._db.write(lambda conn: relay.expire(conn, now, limit))

    async def put_later(self, rows: Sequence[Later]) -> None:
        await self._db.write(lambda conn: later.put_open(conn, rows))

    async def take_later(self, *, now: WallMs, hold_ms: int, limit: int = 500) -> list[Later]:
        return await self._db.write(lambda conn: later.take(conn, now, hold_ms, limit))

    async def drop_later(self, rows: Sequence[Later]) -> None:
        await self._db.write(lambda conn: later.drop(conn, rows))

    async def open_between(
        self, first_id: int, last_id: int, *, after: tuple[int, str] = (0, ""), limit: int = 1_000
    ) -> list[tuple[int, str, str]]:
        return await self._db.read(lambda conn: relay.open_between(conn, first_id, last_id, after, limit))

    async def cursor(self, name: str) -> int:
        return await self._db.read(lambda conn: relay.cursor(conn, name))

    async def move_cursor(self, name: str, to: int) -> None:
        await self._db.write(lambda conn: relay.move_cursor(conn, name, to))

    async def prune(self, before_id: int, *, limit: int = 1_000) -> int:
        ranges = [(0, before_id - 1)]
        if (partitions := self._partitions) is not None:
            ranges = await self._db.aside(lambda conn: partitions.tend(conn, before_id))
        return await self._db.write(lambda conn: relay.prune(conn, before_id, limit, ranges))

    # ── issuer leases ────────────────────────────────────────────────────────────────────────────────────────────────

    async def lease_issuer(self, holder: str, *, now: WallMs, ttl_ms: int) -> IssuerLease:
        return await self._db.write(lambda conn: leases.lease(conn, holder, now, ttl_ms), critical=True)

    async def renew_issuer(
        self, lease: IssuerLease, *, high_water_ms: WallMs, now: WallMs, ttl_ms: int
    ) -> IssuerLease | None:
        return await self._db.write(lambda conn: leases.renew(conn, lease, high_water_ms, now, ttl_ms), critical=True)

    async def release_issuer(self, lease: IssuerLease, *, high_water_ms: WallMs) -> None:
        await self._db.write(lambda conn: leases.release(conn, lease, high_water_ms), critical=True)

    async def ping(self) -> None:
        await self._db.read(lambda conn: relay.cursor(conn, "ping"), critical=True)

    async def close(self) -> None:
        await self._db.close()
