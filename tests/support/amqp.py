"""Queues in a real RabbitMQ for tests: a prefix of their own each, nothing left behind."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiormq

from push_core.dsn import Dsn
from push_core.queues.amqp import AmqpQueues
from push_core.queues.amqp_settings import SCHEMES, AmqpSettings
from push_core.queues.port import PARKED


def settings_of(dsn: str, **options: Any) -> AmqpSettings:
    """`options` are those of the DSN; a prefix of its own unless one is given."""
    options = {"prefix": f"test-{secrets.token_hex(4)}.", **options}
    text = dsn + "?" + "&".join(f"{name}={value}" for name, value in options.items())
    return AmqpSettings.read(Dsn.parse(text, "[stores] queues", SCHEMES))


@asynccontextmanager
async def amqp_queues(settings: AmqpSettings, **how: Any) -> AsyncIterator[AmqpQueues]:
    """Connected; at the end its queues are deleted."""
    queues = AmqpQueues(settings, **how)
    try:
        await queues.ping()
        yield queues
    finally:
        await queues.close()
        await delete(settings, *queues._ground._known)


@asynccontextmanager
async def channel_of(settings: AmqpSettings) -> AsyncIterator[Any]:
    """A channel beside the adapter, to look and to do harm."""
    host, port = settings.hosts[0]
    connection = await aiormq.connect(settings.url(host, port, "test"))
    try:
        yield await connection.channel()
    finally:
        await connection.close()


async def delete(settings: AmqpSettings, *queues: str) -> None:
    """The port's queues of these names, and what belongs to them."""
    async with channel_of(settings) as channel:
        for queue in queues:
            for name in (settings.name(queue), settings.name(queue) + PARKED):
                await channel.queue_delete(name)
        await channel.queue_delete(settings.prefix + "life")
