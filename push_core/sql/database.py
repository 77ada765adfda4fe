"""One SQL store as asyncio sees it: `read` and `write` run a function with a connection in a thread of the adapter.

SQLite in a file: one writing thread, a few reading ones (WAL: neither waits for the other). SQLite in memory is one connection,
so one thread does all. A server: a few of each, which are all the connections that this store ever has. Every call has a deadline, the
time it waits for a thread included, and the number of those waiting has a bound.
"""

import asyncio
import queue
from collections.abc import Callable
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Engine

from push_core.errors import ConfigError, DeadlineExceeded, Overloaded, Unavailable
from push_core.fuse import Fuse, MakeFuse
from push_core.sql.engine import Place, place_of
from push_core.sql.errors import Denied
from push_core.sql.migrate import upgrade
from push_core.sql.threads import Call, Lane, let_threads_in
from push_core.sql.window import check_server, needs_upgrade

R = TypeVar("R")
DEADLINE_S = 5.0
ASIDE_S = 60.0
BOUND = 4_096  # calls waiting for a thread; each is a whole batch


class Database:
    """Made by `open`. `schema` is the branch of migrations: "messages" or "devices"."""

    def __init__(self, engine: Engine, place: Place, *, deadline_s: float, fuse: Fuse | None = None) -> None:
        self.where = place.name
        self.options = place.options  # of a server
        self._place = place
        self._fuse = fuse
        self._engine = engine
        self._deadline_s = deadline_s
        self._under_way = 0
        self._closed = False
        self._unseen: Callable[[Connection], None] | None = None  # what a server must pass before it is used
        self._looking = asyncio.Lock()
        self._looked_at = float("-inf")  # in vain, in the loop's time
        self._trouble = ""  # what was wrong then
        self._writes: queue.SimpleQueue[Call[Any] | None] = queue.SimpleQueue()
        self._reads = queue.SimpleQueue() if place.readers else self._writes
        self._writers = [
            Lane(f"taco-sql-writer-{n}", engine, self.where, self._writes, reading=False) for n in range(place.writers)
        ]
        self._asides: queue.SimpleQueue[Call[Any] | None] = queue.SimpleQueue()
        self._aside: Lane | None = None
        self._readers = [
            Lane(f"taco-sql-reader-{n}", engine, self.where, self._reads, reading=True) for n in range(place.readers)
        ]

    @classmethod
    async def open(
        cls,
        dsn: str,
        schema: str,
        *,
        readers: int = 2,
        writers: int = 1,
        deadline_s: float = DEADLINE_S,
        fuse: MakeFuse | None = None,
        must_answer: bool = True,
    ) -> Self:
        """Connect and start the threads. An embedded store's tables are brought to this version; a server's must be already, since they
        are shared with programs of other versions (`taco db upgrade`).

        Raises ConfigError for a bad DSN and for tables that this version doesn't work with, Unavailable when the store can't be used now. A
        server that need not answer (`must_answer`) is looked at before the first call that reaches it; what is wrong is Unavailable then.
        """
        place = place_of(dsn, readers=readers, writers=writers)
        engine = place.make_engine()
        let_threads_in()
        store = cls(
            engine,
            place,
            deadline_s=deadline_s,
            fuse=fuse(place.name) if fuse is not None and not place.embedded else None,
        )
        try:
            if not place.embedded:
                store._unseen = lambda conn: check_server(conn, schema, place)
                await store._look()
            elif await store.read(lambda conn: needs_upgrade(conn, schema, place.name)):
                await store.write(lambda conn: upgrade(conn, schema), deadline_s=60.0)
        except Denied as error:  # waiting doesn't help
            await store.close()
            raise ConfigError(error.message) from None
        except BaseException as error:
            if not must_answer and isinstance(error, Unavailable):
                return store
            await store.close()
            raise
        return store

    async def write(
        self,
        work: Callable[[Connection], R],
        *,
        before_commit: Callable[[], None] | None = None,
        deadline_s: float | None = None,
        critical: bool = False,
    ) -> R:
        """Run `work` in a transaction, together with other calls that wait. When this returns, it is durable.

        `before_commit` runs right before COMMIT; a TacoError that it raises undoes this call alone. `work` may be run again if the
        transaction it shared could not be committed. A caller that is cancelled stops waiting; the work is done all the same. `critical`
        calls (leases, probes) are made whatever the fuse thinks.
        """
        return await self._ask(self._writes, work, before_commit, deadline_s, critical)

    async def read(
        self, work: Callable[[Connection], R], *, deadline_s: float | None = None, critical: bool = False
    ) -> R:
        """Run `work`, which changes nothing. On a server each statement sees what was committed before it; work whose statements must
        agree begins with `bulk.snapshot`."""
        return await self._ask(self._reads, work, None, deadline_s, critical)

    async def aside(self, work: Callable[[Connection], R]) -> R:
        """Run `work`, which may take a minute and commits by itself, on a connection of its own that is made when first needed."""
        if self._aside is None:
            engine = self._place.make_patient_engine(ASIDE_S)
            self._aside = Lane("taco-sql-aside", engine, self.where, self._asides, reading=False)
        return await self._made(self._asides, Call(work, asyncio.get_running_loop()), ASIDE_S)

    async def close(self) -> None:
        """Finish what was asked, end the threads."""
        if self._closed:
            return
        self._closed = True
        for _ in self._readers:
            self._reads.put(None)
        for _ in self._writers:
            self._writes.put(None)
        self._asides.put(None)
        await asyncio.to_thread(self._join)

    async def _ask(
        self,
        calls: "queue.SimpleQueue[Call[Any] | None]",
        work: Callable[[Connection], R],
        before_commit: Callable[[], None] | None,
        deadline_s: float | None,
        critical: bool,
    ) -> R:
        seconds = self._deadline_s if deadline_s is None else deadline_s
        if self._fuse is None:
            await self._seen()
            return await self._made(calls, Call(work, asyncio.get_running_loop(), before_commit), seconds)

        async def make() -> R:
            await self._seen()
            return await self._made(calls, Call(work, asyncio.get_running_loop(), before_commit), seconds)

        return await self._fuse.run(make, critical=critical)

    async def _look(self) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with self._looking:
            check = self._unseen
            if check is None:
                return
            if self._looked_at >= began:  # in vain, while we waited: not each of us waits for a look of its own
                raise Unavailable(self._trouble)
            try:
                await self._made(self._reads, Call(check, loop), self._deadline_s)
            except (ConfigError, Unavailable) as error:
                self._looked_at, self._trouble = loop.time(), str(error)
                raise
            self._unseen = None

    async def _seen(self) -> None:
        """Raises Unavailable: whatever became of the look, the call itself was not made."""
        if self._unseen is None:
            return
        try:
            await self._look()
        except (ConfigError, DeadlineExceeded) as error:
            raise Unavailable(str(error)) from None

    async def _made(self, calls: "queue.SimpleQueue[Call[Any] | None]", call: Call[R], seconds: float) -> R:
        if self._closed:
            raise Unavailable(f"{self.where} is closed")
        if self._under_way >= BOUND:
            raise Overloaded(f"{self.where}: {BOUND} calls are waiting already")
        timer = call.loop.call_later(seconds, call.expire, self.where, seconds)
        self._under_way += 1
        try:
            calls.put(call)
            return await call.future
        finally:
            self._under_way -= 1
            timer.cancel()

    def _join(self) -> None:
        for lane in (*self._readers, *self._writers, *([self._aside] if self._aside else [])):
            lane.join()
        self._engine.dispose()
