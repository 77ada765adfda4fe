"""What was put aside: a durable queue beside each queue, with persistent bodies, its oldest dropped at the bound.

What is looked at is taken without an ack on a channel that is closed afterwards: the broker puts it back in its old order.
"""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection

import structlog
from aiormq.abc import AbstractChannel, DeliveredMessage
from aiormq.exceptions import ChannelClosed, ChannelNotFoundEntity, DeliveryError
from pamqp import commands as spec

from push_core.clock import WallMs
from push_core.errors import Unavailable
from push_core.queues.amqp_channel import PERSISTENT
from push_core.queues.amqp_control import Control
from push_core.queues.amqp_settings import AmqpSettings
from push_core.queues.port import PARKED, Parked

log = structlog.get_logger(__name__)

WHOLE_S = 30.0
"""Deadline for going over a whole parking queue."""
_REASON, _AT, _TRIES = "x-taco-reason", "x-taco-at", "x-taco-tries"


class ParkedQueues:
    def __init__(self, control: Control, settings: AmqpSettings, wall_ms: Callable[[], WallMs]) -> None:
        self._control = control
        self._settings = settings
        self._wall_ms = wall_ms
        self.dropped = 0

    async def park(self, queue: str, body: bytes, reason: str, tries: int) -> None:
        """Raises Unavailable."""
        settings = self._settings
        now = self._wall_ms()
        properties = spec.Basic.Properties(
            delivery_mode=PERSISTENT,
            message_id=f"{now:x}-{secrets.token_hex(4)}",
            headers={_REASON: reason, _AT: now, _TRIES: tries},
        )
        name = settings.name(queue) + PARKED

        async def work(channel: AbstractChannel) -> int:
            declared = await channel.queue_declare(name, durable=True, arguments=settings.arguments(name))
            await channel.basic_publish(body, routing_key=name, properties=properties)
            return declared.message_count or 0

        try:
            before = await self._control.ask(work)
        except (ChannelClosed, DeliveryError) as error:
            raise Unavailable(f"queue {name} does not take what is to be put aside: {error}") from None
        if before >= settings.parked:
            self.dropped += 1
            log.warning("oldest parked body dropped", queue=queue, limit=settings.parked, dropped=self.dropped)

    async def show(self, queue: str, limit: int) -> list[Parked]:
        """Raises Unavailable."""
        now = self._wall_ms()

        async def work(channel: AbstractChannel) -> list[Parked]:
            found: list[Parked] = []
            async for message in self._messages(channel, queue):
                found.append(_parked(message, now))
                if len(found) >= limit:
                    break
            return found

        try:
            return await self._control.ask_alone(work, WHOLE_S)
        except ChannelNotFoundEntity:
            return []

    async def settle(
        self, queue: str, ids: Collection[str] | None, hand_over: Callable[[bytes], Awaitable[bool]] | None = None
    ) -> int:
        """Remove those of these ids, or all; with `hand_over` only what it took. How many. Raises Unavailable, with some of them settled perhaps."""

        async def work(channel: AbstractChannel) -> int:
            settled = 0
            async for message in self._messages(channel, queue):
                wanted = ids is None or message.header.properties.message_id in ids
                if wanted and (hand_over is None or await hand_over(message.body)):
                    await channel.basic_ack(message.delivery_tag or 0)
                    settled += 1
            return settled

        try:
            return await self._control.ask_alone(work, WHOLE_S)
        except ChannelNotFoundEntity:
            return 0

    async def _messages(self, channel: AbstractChannel, queue: str) -> AsyncIterator[DeliveredMessage]:
        """What is there now, oldest first; what is not acked goes back when the channel is closed."""
        name = self._settings.name(queue) + PARKED
        declared = await channel.queue_declare(name, passive=True)
        for _ in range(declared.message_count or 0):
            message = await channel.basic_get(name)
            if message.delivery_tag is None:
                return
            yield message


def _parked(message: DeliveredMessage, now: WallMs) -> Parked:
    """Also of a body that somebody else put there."""
    properties = message.header.properties
    headers = properties.headers or {}
    at, tries = headers.get(_AT), headers.get(_TRIES)
    return Parked(
        id=properties.message_id or "",
        body=message.body,
        reason=str(headers.get(_REASON, "")),
        at=at if isinstance(at, int) else now,
        tries=tries if isinstance(tries, int) else 0,
    )
