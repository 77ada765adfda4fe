"""Which life of the broker this is, so that all programs agree on when it may have lost what it held.

AMQP tells no such thing. A queue of ours (`<prefix>life`) holds one transient message whose body is a random id: a broker that was started anew has lost it
together with everything else that was transient, and whoever finds it missing first puts a new one. Who makes or replaces it holds a lock: an
exclusive queue, which the broker takes away with the connection of its holder. Whoever finds a core queue deleted replaces the marker too.
"""

import asyncio
import random
import secrets

import structlog
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelClosed, ChannelLockedResource, ChannelNotFoundEntity
from pamqp import commands as spec

from push_core.errors import Unavailable
from push_core.queues.amqp_channel import TRANSIENT
from push_core.queues.amqp_control import Control
from push_core.queues.amqp_settings import AmqpSettings

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 2.0
"""How late the others learn that one of them replaced the marker. Who reconnects looks at once."""
HELD_TRIES = 5
"""Looks before a marker counts as missing: another program holds it for a moment while it reads."""
HELD_PAUSE_S = 0.02


class Life:
    def __init__(self, control: Control, settings: AmqpSettings) -> None:
        self._control = control
        self._queue = settings.prefix + "life"
        self._lock = settings.prefix + "life.lock"
        self._queue_type = settings.queue_type
        self._current = ""
        self._renew = False
        self._look_now = asyncio.Event()
        self._reading = asyncio.Lock()  # an exclusive queue keeps out other connections, not our own
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="amqp.life")

    @property
    def current(self) -> str:
        """The newest known; empty before the first look."""
        return self._current

    def look(self) -> None:
        """Soon: the connection is new."""
        self._look_now.set()

    def renew(self) -> None:
        """Something that the broker held is lost: everybody should know."""
        self._renew = True
        self._look_now.set()

    async def read(self) -> str:
        """Raises Unavailable."""
        async with self._reading:
            return await self._read()

    async def _read(self) -> str:
        if self._renew:
            found = await self._locked(replace=True)
            self._renew = False
        else:
            found = await self._peek() or await self._locked(replace=False)
        if found != self._current:
            if self._current:
                log.warning("the broker may have lost what it held", life=found)
            self._current = found
        return found

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _keep(self) -> None:
        while True:
            try:
                await self.read()
            except (Unavailable, ChannelClosed) as error:
                log.debug("the broker's life is not known", reason=str(error))
            try:
                async with asyncio.timeout(LOOK_EVERY_S * random.uniform(0.75, 1.25)):  # noqa: S311 - spreads load
                    await self._look_now.wait()
            except TimeoutError:
                pass
            self._look_now.clear()

    async def _peek(self) -> str:
        """The marker's text; empty when there is none, or when another program holds it."""

        async def work(channel: AbstractChannel) -> str:
            tags, newest = await self._all(channel)
            if tags:
                await channel.basic_nack(tags[-1], multiple=True, requeue=True, wait=False)
            return newest

        try:
            return await self._control.ask(work)
        except ChannelNotFoundEntity:
            return ""

    async def _locked(self, *, replace: bool) -> str:
        """Look and write with nobody else at it."""
        while True:
            try:
                return await self._control.ask_alone(lambda channel: self._write(channel, replace=replace))
            except ChannelLockedResource:
                await asyncio.sleep(random.uniform(0.01, 0.05))  # noqa: S311 - spreads load
                if not replace and (found := await self._peek()):
                    return found

    async def _write(self, channel: AbstractChannel, *, replace: bool) -> str:
        await channel.queue_declare(self._lock, exclusive=True)
        try:
            await channel.queue_declare(self._queue, durable=True, arguments={"x-queue-type": self._queue_type})
            tags, newest = await self._all(channel)
            if newest and not replace:
                return newest  # not acked: back with the channel's end
            if tags:
                await channel.basic_ack(tags[-1], multiple=True, wait=False)
            made = secrets.token_hex(8)
            await channel.basic_publish(
                made.encode(), routing_key=self._queue, properties=spec.Basic.Properties(delivery_mode=TRANSIENT)
            )
            return made
        finally:
            if not channel.is_closed:
                await channel.queue_delete(self._lock)

    async def _all(self, channel: AbstractChannel) -> tuple[list[int], str]:
        """Every marker (one, but for accidents) and the text of the newest; taken, not acked."""
        tags: list[int] = []
        newest = ""
        for attempt in range(HELD_TRIES):
            if attempt:
                await asyncio.sleep(HELD_PAUSE_S)
            while (message := await channel.basic_get(self._queue)).delivery_tag is not None:
                tags.append(message.delivery_tag)
                newest = message.body.decode()
            if tags:
                break
        return tags, newest
