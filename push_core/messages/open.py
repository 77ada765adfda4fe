"""The message store that a setting names: one, or several with their ranges of shards."""

import asyncio

from push_core.fuse import MakeFuse
from push_core.messages.port import Messages
from push_core.messages.ranges import split
from push_core.messages.sharded import ShardedMessages, Store
from push_core.messages.sql import SqlMessages


async def open_messages(text: str, *, fuse: MakeFuse | None = None) -> Messages:
    """Raises ConfigError for DSNs that can't be used, Unavailable when no store answers."""
    parts = split(text)
    if len(parts) == 1:
        return await SqlMessages.open(parts[0].dsn, fuse=fuse)
    calls = [SqlMessages.open(part.dsn, fuse=fuse, must_answer=False) for part in parts]
    opened = await asyncio.gather(*calls, return_exceptions=True)
    stores = [Store(one, part.shards) for one, part in zip(opened, parts, strict=True) if isinstance(one, SqlMessages)]
    for error in opened:
        if isinstance(error, BaseException):
            for store in stores:
                await store.messages.close()
            raise error
    return await ShardedMessages.open(stores)
