"""Questions to the broker, one after the other on a channel of their own, each with a deadline: depths, declarations, parking, the marker."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelClosed, ChannelNotFoundEntity, ChannelPreconditionFailed

from push_core.errors import DeadlineExceeded, Unavailable
from push_core.queues.amqp_link import BROKEN, Link, Wire, cancelled
from push_core.queues.amqp_settings import AmqpSettings

log = structlog.get_logger(__name__)
T = TypeVar("T")
Work = Callable[[AbstractChannel], Awaitable[T]]


class Control:
    """The one way of every remote call but the hot ones (publishing, taking)."""

    def __init__(self, link: Link, settings: AmqpSettings) -> None:
        self._link = link
        self._settings = settings
        self._lock = asyncio.Lock()
        self._on: tuple[Wire, AbstractChannel] | None = None

    async def ask(self, work: Work[T]) -> T:
        """Raises Unavailable (certainly not done), DeadlineExceeded (unknown), and what the broker said when it closed the channel (ChannelClosed)."""
        async with self._lock:
            wire = await self._link.wire(self._settings.timeout_s)
            try:
                return await on_channel(wire, self._settings.timeout_s, work, self._channel_on)
            except DeadlineExceeded as error:
                self._link.drop(wire, error.message)
                raise

    async def ask_alone(self, work: Work[T], timeout_s: float | None = None) -> T:
        """As `ask`, on a channel of its own that is closed afterwards: whatever was taken and not acked goes back to its queue."""
        wire = await self._link.wire(self._settings.timeout_s)
        channel = None

        async def open_new(wire: Wire) -> AbstractChannel:
            nonlocal channel
            channel = await wire.connection.channel()
            return channel

        try:
            return await on_channel(wire, timeout_s or self._settings.timeout_s, work, open_new)
        finally:
            if channel is not None:
                await close_channel(channel, self._settings.timeout_s)

    async def _channel_on(self, wire: Wire) -> AbstractChannel:
        if self._on is not None and self._on[0] is wire and not self._on[1].is_closed:
            return self._on[1]
        channel = await wire.connection.channel()
        self._on = wire, channel
        return channel


async def on_channel(
    wire: Wire, timeout_s: float, work: Work[T], open_channel: Callable[[Wire], Awaitable[AbstractChannel]]
) -> T:
    """One piece of work on a channel. Raises as `Control.ask`."""
    opened = False
    try:
        async with asyncio.timeout(timeout_s):
            channel = await open_channel(wire)
            opened = True
            return await work(channel)
    except TimeoutError:
        raise DeadlineExceeded(f"the broker {wire.place} did not answer within {timeout_s:g} s") from None
    except ChannelClosed:
        raise
    except BROKEN:
        if cancelled():
            raise
        kind = DeadlineExceeded if opened else Unavailable
        raise kind(f"the connection to the broker {wire.place} was lost") from None


async def close_channel(channel: AbstractChannel, timeout_s: float) -> None:
    """Quietly: whatever happens, the broker ends it with its connection."""
    try:
        async with asyncio.timeout(timeout_s):
            await channel.close()
    except BROKEN:
        if cancelled():
            raise


class Ground:
    """The broker's queues: made on first use, made again when somebody deleted them."""

    def __init__(self, settings: AmqpSettings, on_deleted: Callable[[str], None]) -> None:
        self._settings = settings
        self._on_deleted = on_deleted
        self._known: set[str] = set()
        self._different: set[str] = set()

    def is_known(self, queue: str) -> bool:
        return queue in self._known

    async def declare(self, wire: Wire, queue: str) -> None:
        """Raises Unavailable."""
        settings = self._settings
        name = settings.name(queue)
        try:
            if queue in self._known and not await self._exists(wire, name):
                log.warning("a queue was deleted, with what it held; it is made again", queue=queue)
                self._known.discard(queue)
                self._on_deleted(queue)
            await self._once(
                wire, lambda channel: channel.queue_declare(name, durable=True, arguments=settings.arguments(queue))
            )
        except ChannelPreconditionFailed as error:
            if name not in self._different:
                self._different.add(name)
                log.warning(
                    "a queue was made with other options and is used as it is; to change it, delete it when it is empty",
                    queue=queue,
                    broker_says=str(error),
                )
        except ChannelClosed as error:
            raise Unavailable(f"the broker {wire.place} does not let queue {name} be made: {error}") from None
        self._known.add(queue)

    async def count(self, wire: Wire, queue: str) -> int:
        """How many bodies wait. Raises Unavailable, and ChannelNotFoundEntity when there is no such queue."""
        name = self._settings.name(queue)
        return (await self._once(wire, lambda channel: channel.queue_declare(name, passive=True))).message_count or 0

    async def _exists(self, wire: Wire, name: str) -> bool:
        try:
            await self._once(wire, lambda channel: channel.queue_declare(name, passive=True))
        except ChannelNotFoundEntity:
            return False
        return True

    async def _once(self, wire: Wire, work: Work[T]) -> T:
        """On a channel that is thrown away: the broker closes it when it disagrees."""
        channel = None

        async def open_new(wire: Wire) -> AbstractChannel:
            nonlocal channel
            channel = await wire.connection.channel(publisher_confirms=False)
            return channel

        try:
            return await on_channel(wire, self._settings.timeout_s, work, open_new)
        finally:
            if channel is not None:
                await close_channel(channel, self._settings.timeout_s)
