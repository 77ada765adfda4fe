"""Telling presence of all sessions again after it lost them: at a bounded rate, and once more for each further loss.

Whoever was registered is asked for in the store: what was stored for a device while nobody found it is sent now.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from itertools import islice
from typing import TypeVar

import structlog

from push_core.backoff import Backoff
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.messages.port import Messages
from push_core.presence.port import Presence
from push_core.tasks import Crew
from push_gateway.connection import Connection
from push_gateway.context import Context
from sdk_proto.wire.close import CloseCode

log = structlog.get_logger(__name__)
T = TypeVar("T")


class RegisterAgain:
    """`len` is how many sessions still have their turn to come; `in` says so of one.

    A loss puts everybody in the queue who is not in it, behind those that are: however often presence is lost, each has its turn.
    """

    def __init__(self, presence: Presence, messages: Messages, context: Context) -> None:
        self._presence = presence
        self._messages = messages
        self._context = context
        self._settings = context.settings
        self._queue: dict[Connection, None] = {}
        self._under_way: frozenset[Connection] = frozenset()
        self._lost = asyncio.Event()
        self._to_ask: dict[Connection, None] = {}  # registered, and the store is yet to be asked
        self._registered = asyncio.Event()

    def __len__(self) -> int:
        return len(self._queue) + len(self._under_way)

    def __contains__(self, connection: Connection) -> bool:
        return connection in self._queue or connection in self._under_way

    def start(self, crew: Crew) -> None:
        crew.keep("register", self._register_all)
        crew.keep("register.inboxes", self._ask_all)

    def all(self) -> None:
        """Presence lost its routes. Those who say hello from now on are registered by that; it may have heard before of those who join."""
        registry = self._context.registry
        for connection in registry.signed.values():
            self._queue.setdefault(connection)
        for several in registry.joining.values():
            for connection in several:
                self._queue.setdefault(connection)
        self._lost.set()

    # ── presence ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _register_all(self) -> None:
        while not self._queue:
            await self._lost.wait()
            self._lost.clear()
        backoff = self._backoff()
        while self._queue:
            batch = self._next()
            if not batch:  # none but joining ones
                await asyncio.sleep(self._settings.wheel_resolution_s)
                continue
            self._under_way = frozenset(batch)
            try:
                await self._register(batch)
            except Unavailable as error:
                log.warning("sessions were not registered again; trying again", count=len(batch), error=error.message)
                self._queue = dict.fromkeys(batch) | self._queue
                await asyncio.sleep(backoff.next_s())
                continue
            except BaseException:  # a fault of ours: the loop is started again, and finds them where they were
                self._queue = dict.fromkeys(batch) | self._queue
                raise
            finally:
                self._under_way = frozenset()
            backoff.reset()
            await asyncio.sleep(len(batch) / self._settings.register_per_s)

    def _next(self) -> list[Connection]:
        """Out of the queue; those who are still joining go to its end, since they may yet be refused."""
        batch: list[Connection] = []
        joining: list[Connection] = []
        while self._queue and len(batch) < self._settings.register_batch:
            connection = next(iter(self._queue))
            del self._queue[connection]
            if connection.is_joining:
                joining.append(connection)
            elif connection.is_open:
                batch.append(connection)
        self._queue |= dict.fromkeys(joining)
        return batch

    async def _register(self, batch: Sequence[Connection]) -> None:
        """Raises Unavailable; then it should be done again."""
        kept = await self._in_time(self._presence.register_again([connection.route for connection in batch]))
        for connection, ours in zip(batch, kept, strict=True):
            if not ours:
                connection.close(CloseCode.SUPERSEDED, "another connection of this device lives", sign_out=False)
            elif connection.is_open:
                self._to_ask.setdefault(connection)
            else:  # it ended meanwhile, and its sign-out may have come first
                self._context.sign_outs.add(connection.route)
        self._registered.set()

    # ── inboxes ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _ask_all(self) -> None:
        """A store that is away holds up nobody's route."""
        while not self._to_ask:
            await self._registered.wait()
            self._registered.clear()
        backoff = self._backoff()
        while self._to_ask:
            asked = list(islice(self._to_ask, self._settings.register_batch))
            for connection in asked:
                del self._to_ask[connection]  # now: who is registered once more meanwhile is asked for once more
            here = [connection for connection in asked if connection.is_open]
            try:
                waiting = await self._in_time(self._messages.waiting([each.key for each in here])) if here else []
            except Unavailable as error:
                log.warning("inboxes were not asked for; trying again", count=len(here), error=error.message)
                self._to_ask = dict.fromkeys(here) | self._to_ask
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            for connection, count in zip(here, waiting, strict=True):
                if count and connection.is_open:
                    self._context.drains.poke(connection)

    def _backoff(self) -> Backoff:
        return Backoff(self._settings.retry_min_s, self._settings.retry_max_s)

    async def _in_time(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._settings.store_timeout_s):
                return await call
        except TimeoutError:
            raise DeadlineExceeded("a store did not answer in time") from None
