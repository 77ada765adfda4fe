"""Which life of the broker this is, so that all programs agree on when it may have lost what it held.

AMQP tells no such thing. A queue of ours (`<prefix>life`) is the marker. It holds a few transient messages, which are lost when and because all else that
was transient is: whoever finds it empty deletes it and makes another. Its argument x-max-length is a random number, the name of the life: whoever declares
it first decides, and everybody else is told "not equivalent to what is there" in words that are the same for all. Nobody ever takes a message, so
that nobody can be in another's way. Whoever finds a core queue deleted makes another marker too; how many messages it holds tells the others that it is
another one.
"""

import asyncio
import contextlib
import hashlib
import random
import secrets
from typing import Any

import structlog
from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelClosed, ChannelNotFoundEntity, ChannelPreconditionFailed
from pamqp import commands as spec

from push_core.errors import Unavailable
from push_core.queues.amqp_channel import TRANSIENT
from push_core.queues.amqp_control import Control
from push_core.queues.amqp_settings import AmqpSettings

log = structlog.get_logger(__name__)

LOOK_EVERY_S = 2.0
"""How late the others learn that one of them made another marker. Who reconnects looks at once."""
TURNS = 20
"""Others may be at it at the same time: looks before it is given up until later."""
MOST_MESSAGES = 8


class Life:
    def __init__(self, control: Control, settings: AmqpSettings) -> None:
        self._control = control
        self._queue = settings.prefix + "life"
        self._queue_type = settings.queue_type
        self._current = ""
        self._messages = 0  # in the marker of the current life
        self._renew = False
        self._look_now = asyncio.Event()
        self._reading = asyncio.Lock()
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
            try:
                found, messages = await self._read()
            except ChannelClosed as error:
                raise Unavailable(f"the broker does not let queue {self._queue} be used: {error}") from None
            if found != self._current:
                if self._current:
                    log.warning("the broker may have lost what it held", life=found)
                self._current = found
            self._messages = messages
            return found

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _keep(self) -> None:
        while True:
            try:
                await self.read()
            except Unavailable as error:
                log.debug("the broker's life is not known", reason=error.message)
            try:
                async with asyncio.timeout(LOOK_EVERY_S * random.uniform(0.75, 1.25)):  # noqa: S311 - spreads load
                    await self._look_now.wait()
            except TimeoutError:
                pass
            self._look_now.clear()

    async def _read(self) -> tuple[str, int]:
        if self._renew:
            await self._delete(if_empty=False)
            self._renew = False
        elif self._current and await self._count() == self._messages:
            return self._current, self._messages
        for _ in range(TURNS):
            name = await self._declare()
            if not name:
                await self._fill()
            elif messages := await self._count():
                return name, messages
            else:
                await self._delete(if_empty=True)  # of a life that is over, or somebody is about to fill it
        raise Unavailable(f"queue {self._queue} is made anew all the time")

    async def _declare(self) -> str:
        """The name of the life that is declared; empty if this made another."""
        number = 2**20 + secrets.randbelow(2**30)
        arguments: dict[str, Any] = {"x-queue-type": self._queue_type, "x-max-length": number}
        try:
            await self._control.ask(
                lambda channel: channel.queue_declare(self._queue, durable=True, arguments=arguments)
            )
        except ChannelPreconditionFailed as error:
            told = str(error).replace(str(number), "")
            return hashlib.sha256(told.encode()).hexdigest()[:16]
        return ""

    async def _fill(self) -> None:
        async def work(channel: AbstractChannel) -> None:
            properties = spec.Basic.Properties(delivery_mode=TRANSIENT)
            for _ in range(self._messages % MOST_MESSAGES + 1):
                await channel.basic_publish(b"", routing_key=self._queue, properties=properties)

        await self._control.ask(work)

    async def _count(self) -> int:
        try:
            declared = await self._control.ask(lambda channel: channel.queue_declare(self._queue, passive=True))
        except ChannelNotFoundEntity:
            return 0
        return declared.message_count or 0

    async def _delete(self, *, if_empty: bool) -> None:
        with contextlib.suppress(ChannelPreconditionFailed):  # somebody has filled it
            await self._control.ask(lambda channel: channel.queue_delete(self._queue, if_empty=if_empty))
