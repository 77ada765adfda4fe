"""Sending what waits in the inbox: on connect, when somebody says that there is more, and whenever half of the window is free.

The store is read in pages, many devices at a time, and nothing of a page is kept: what doesn't fit the window is read again later.
A pass goes through an inbox once, in its order; if somebody said "more" meanwhile, another pass follows from the first row.
"""

import asyncio
from collections.abc import Sequence

import structlog

from push_core.backoff import Backoff
from push_core.batching import Batcher
from push_core.clock import Clock
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.messages.port import InboxAsk, InboxPage, Messages
from push_core.rpc.port import Taking
from push_core.tasks import Crew
from push_gateway.connection import Connection
from push_gateway.receipts import Receipts
from push_gateway.settings import GatewaySettings
from sdk_proto.wire.close import CloseCode

log = structlog.get_logger(__name__)


class _Pass:
    """One device's reading of its inbox. `after` is the last row handled; `settled` what the device settled since the page was
    asked for, or just before: the page may still show it (marks as in `push_gateway.receipts.mark`). `tried` was written to an
    earlier connection when the page was asked for: the page may still show it as new."""

    __slots__ = ("after", "limit", "more", "reading", "settled", "tried")

    def __init__(self) -> None:
        self.after: tuple[int, int] | None = None
        self.limit = 0
        self.more = False
        self.reading = False
        self.settled: set[int] = set()
        self.tried: set[int] = set()


class Drains:
    """`Connection.more` says whether a connection has a pass here."""

    def __init__(
        self, messages: Messages, receipts: Receipts, settings: GatewaySettings, clock: Clock, crew: Crew
    ) -> None:
        self._messages = messages
        self._receipts = receipts
        self._timeout_s = settings.store_timeout_s
        self._clock = clock
        self._passes: dict[Connection, _Pass] = {}
        self._failed: list[Connection] = []
        self._retry = asyncio.Event()
        self._backoff = Backoff(settings.retry_min_s, settings.retry_max_s)
        self._reads: Batcher[Connection, None] = Batcher(
            self._read_batch,
            largest=settings.drain_batch,
            parallel=settings.drain_parallel,
            bound=settings.max_connections,
            name="gateway.drains",
        )
        crew.keep("drains.retry", self._retry_failed)

    def __len__(self) -> int:
        """Connections with something left to read."""
        return len(self._passes)

    def poke(self, connection: Connection) -> None:
        """Something may wait for the device."""
        current = self._passes.get(connection)
        if current is None:
            self._passes[connection] = _Pass()
            connection.more = True
        else:
            current.more = True
        self.go_on(connection)

    def go_on(self, connection: Connection) -> None:
        """Read, if half of the window is free and no reading is under way."""
        current = self._passes.get(connection)
        if current is None or current.reading or not connection.half_free:
            return
        current.reading = True
        try:
            self._reads.submit(connection)
        except Unavailable:
            self._fail(connection)

    def settled(self, connection: Connection, mark: int) -> None:
        """The device settled it while it has a pass."""
        current = self._passes.get(connection)
        if current is not None and current.reading:
            current.settled.add(mark)

    def forget(self, connection: Connection) -> None:
        """It is closed."""
        if connection.more:
            connection.more = False
            del self._passes[connection]

    async def read(self, connections: Sequence[Connection]) -> list[InboxPage | None]:
        """The next pages; None for those closed. A joining connection begins its first pass. Raises Unavailable, and then reads again later."""
        asks: list[InboxAsk] = []
        asking: list[Connection] = []
        for connection in connections:
            if connection.is_open:
                asks.append(self._ask(connection))
                asking.append(connection)
        try:
            pages = await self._inbox(asks) if asks else []
        except Exception:
            for connection in asking:
                self._fail(connection)
            raise
        found = dict(zip(asking, pages, strict=True))
        return [found.get(connection) for connection in connections]

    def take(self, connection: Connection, page: InboxPage) -> None:
        """Send what fits of a page. Never raises: one device's fault must not cost the others of a batch their pages."""
        try:
            self._take(connection, page)
        except Exception:  # the supervised edge
            log.exception("a page of an inbox could not be sent")
            connection.close(CloseCode.INTERNAL_ERROR, "internal error")

    def _take(self, connection: Connection, page: InboxPage) -> None:
        current = self._passes.get(connection)
        if current is None:
            return
        current.reading = False
        current.more = current.more or page.partial
        settled, current.settled = current.settled, set()
        tried = current.tried | self._receipts.tried(connection.key)
        now, wall = self._clock.monotonic(), self._clock.wall_ms()
        for row in page.rows:
            if row.expires > wall and (-row.id if row.recall else row.id) not in settled:
                taking = connection.offer_row(row, now, wall, again=row.again or row.id in tried)
                if taking is not Taking.ACCEPTED:
                    break
            current.after = row.priority, row.id
        else:
            if len(page.rows) < current.limit:  # the end of the inbox
                if page.partial:  # a store is away, whose rows may come before these: from the first again, later
                    current.more, current.after, current.reading = False, None, True
                    self._fail(connection)
                    return
                if not current.more:
                    self.forget(connection)
                    return
                current.more = False
                current.after = None
        self.go_on(connection)

    async def close(self) -> None:
        await self._reads.close()

    def _ask(self, connection: Connection) -> InboxAsk:
        current = self._passes.get(connection)
        if current is None:
            current = self._passes[connection] = _Pass()
            connection.more = True
        current.reading = True
        current.limit = max(1, connection.free)
        current.settled = set(self._receipts.settled(connection.key))
        current.tried = set(self._receipts.tried(connection.key))
        app, device = connection.key
        return InboxAsk(app, device, current.limit, current.after)

    async def _inbox(self, asks: Sequence[InboxAsk]) -> list[InboxPage]:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._messages.inbox(asks, now=self._clock.wall_ms())
        except TimeoutError:
            raise DeadlineExceeded("the inbox was not read in time") from None

    async def _read_batch(self, connections: Sequence[Connection]) -> Sequence[None]:
        try:
            pages = await self.read(connections)
        except Exception as error:  # the supervised edge: nobody reads what a batch raises
            expected = isinstance(error, Unavailable)
            log.warning(
                "inboxes could not be read; trying again", exc_info=None if expected else error, error=str(error)
            )
            return [None] * len(connections)
        failed = len(self._failed)
        for connection, page in zip(connections, pages, strict=True):
            if page is not None:
                self.take(connection, page)
        if len(self._failed) == failed:
            self._backoff.reset()
        return [None] * len(connections)

    def _fail(self, connection: Connection) -> None:
        current = self._passes.get(connection)
        if current is not None:
            current.settled = set()
            self._failed.append(connection)  # still `reading`, so that nothing else starts one before its turn
            self._retry.set()

    async def _retry_failed(self) -> None:
        await self._retry.wait()
        await asyncio.sleep(self._backoff.next_s())
        self._retry.clear()
        failed, self._failed = self._failed, []
        for connection in failed:
            current = self._passes.get(connection)
            if current is not None:
                current.reading = False
                self.go_on(connection)
