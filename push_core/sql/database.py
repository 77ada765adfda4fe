"""One SQL store as asyncio sees it: `read` and `write` run a function with a connection in a thread of the adapter.

SQLite in a file: one writing thread, a few reading ones (WAL: neither waits for the other). SQLite in memory is one connection,
so one thread does all. Every call has a deadline and the number of those waiting has a bound.
"""

import asyncio
import queue
from collections.abc import Callable
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine

from push_core.errors import Overloaded, Unavailable
from push_core.sql.engine import in_memory, make_engine, parse, shown
from push_core.sql.migrate import is_current, upgrade
from push_core.sql.threads import Call, Lane, let_threads_in

R = TypeVar("R")
DEADLINE_S = 5.0
BOUND = 4_096  # calls waiting for a thread; each is a whole batch


class Database:
    """Made by `open`. `schema` is the branch of migrations: "messages" or "devices"."""

    def __init__(self, engine: Engine, where: str, *, readers: int, deadline_s: float) -> None:
        self.where = where
        self._engine = engine
        self._deadline_s = deadline_s
        self._under_way = 0
        self._closed = False
        self._writes: queue.SimpleQueue[Call[Any] | None] = queue.SimpleQueue()
        self._reads = queue.SimpleQueue() if readers else self._writes
        self._lanes = [Lane("taco-sql-writer", engine, where, self._writes, reading=False)]
        self._lanes += [Lane(f"taco-sql-reader-{n}", engine, where, self._reads, reading=True) for n in range(readers)]

    @classmethod
    async def open(cls, dsn: str, schema: str, *, readers: int = 2, deadline_s: float = DEADLINE_S) -> Self:
        """Connect, bring the tables to this version, start the threads. Raises ConfigError for a bad DSN, Unavailable when the file
        can't be used."""
        url = parse(dsn)
        engine = make_engine(url)
        let_threads_in()
        store = cls(engine, shown(url), readers=0 if in_memory(url) else readers, deadline_s=deadline_s)
        try:
            if not await store.read(lambda conn: is_current(conn, schema)):
                await store.write(lambda conn: upgrade(conn, schema), deadline_s=60.0)
        except BaseException:
            await store.close()
            raise
        return store

    async def write(
        self,
        work: Callable[[Connection], R],
        *,
        before_commit: Callable[[], None] | None = None,
        deadline_s: float | None = None,
    ) -> R:
        """Run `work` in a transaction, together with other calls that wait. When this returns, it is durable.

        `before_commit` runs right before COMMIT; a TacoError that it raises undoes this call alone. `work` may be run again if the
        transaction it shared could not be committed. A caller that is cancelled stops waiting; the work is done all the same.
        """
        return await self._ask(self._writes, Call(work, asyncio.get_running_loop(), before_commit), deadline_s)

    async def read(self, work: Callable[[Connection], R], *, deadline_s: float | None = None) -> R:
        """Run `work` on one consistent view of the store."""
        return await self._ask(self._reads, Call(work, asyncio.get_running_loop()), deadline_s)

    async def close(self) -> None:
        """Finish what was asked, end the threads."""
        if self._closed:
            return
        self._closed = True
        for _ in self._lanes[1:]:
            self._reads.put(None)
        self._writes.put(None)
        await asyncio.to_thread(self._join)

    async def _ask(self, calls: "queue.SimpleQueue[Call[Any] | None]", call: Call[R], deadline_s: float | None) -> R:
        if self._closed:
            raise Unavailable(f"{self.where} is closed")
        if self._under_way >= BOUND:
            raise Overloaded(f"{self.where}: {BOUND} calls are waiting already")
        seconds = self._deadline_s if deadline_s is None else deadline_s
        timer = call.loop.call_later(seconds, call.expire, self.where, seconds)
        self._under_way += 1
        try:
            calls.put(call)
            return await call.future
        finally:
            self._under_way -= 1
            timer.cancel()

    def _join(self) -> None:
        for lane in self._lanes:
            lane.join()
        self._engine.dispose()
