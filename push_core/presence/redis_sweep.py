"""Removing routes of dead leases. All buckets are walked in turn, a few with each script; a lease is forgotten when a whole round is behind it.

Only what is known to be dead is removed: a lease that was taken during the walk is looked up first.
"""

from collections.abc import Sequence

from push_core.presence import redis_layout as layout
from push_core.presence import redis_scripts as scripts
from push_core.presence.redis_layout import Layout, LeaseId
from push_core.presence.redis_leases import Leases
from push_core.redis.client import RedisClient
from push_core.redis.tags import COUNT

AT_ONCE = 16  # buckets in one script: some milliseconds of Redis when they are full
IDLE_BUCKETS = 128  # walked in a call when nobody is known to be dead: for routes of leases that nobody remembers


class Sweeper:
    def __init__(self, client: RedisClient, where: Layout, leases: Leases) -> None:
        self._client = client
        self._layout = where
        self._leases = leases
        self._chunks = _chunks(where.buckets)
        self._next = 0
        self._walked = 0  # chunks, ever
        self._since: dict[LeaseId, int] = {}  # dead lease → chunks walked when it was first seen dead

    async def census(self) -> list[LeaseId]:
        """All leases that are remembered; which of them are alive is known after it."""
        keys, args = (self._layout.leases, self._layout.layout), (self._layout.stamp, self._layout.lease_prefix)
        (answer,) = await self._client.call((layout.LEASE_TAG, scripts.CENSUS.on(keys, args)), critical=True)
        leases: list[LeaseId] = answer[::2]
        self._leases.learn(leases, answer[1::2])
        return leases

    async def sweep(self, limit: int) -> int:
        leases = await self.census()
        dead = {lease for lease in leases if self._leases.node(lease) is None}
        self._since = {lease: self._since.get(lease, self._walked) for lease in dead}
        strangers: set[LeaseId] = set()
        removed, looked_at = 0, 0
        while removed < limit and (self._since or looked_at < IDLE_BUCKETS):
            chunk = self._chunks[self._next]
            gone, unfinished, unknown = await self._sweep_chunk(chunk, dead | strangers, limit - removed)
            removed += gone
            if unfinished:
                continue
            if unknown and (found := await self._strangers(unknown)):
                strangers |= found
                continue
            looked_at += len(chunk)
            self._next = (self._next + 1) % len(self._chunks)
            self._walked += 1
            await self._forget(
                [lease for lease, since in self._since.items() if self._walked - since >= len(self._chunks)]
            )
        return removed

    async def _sweep_chunk(
        self, chunk: Sequence[int], dead: set[LeaseId], most: int
    ) -> tuple[int, bool, list[LeaseId]]:
        keys = [self._layout.keys[bucket] for bucket in chunk]
        args = (layout.join(list(dead)), layout.join(self._leases.alive()), most)
        command = layout.tag_of_bucket(chunk[0]), scripts.SWEEP.on(keys, args)
        ((gone, unfinished, unknown),) = await self._client.call(command)
        return gone, bool(unfinished), unknown

    async def _strangers(self, leases: Sequence[LeaseId]) -> set[LeaseId]:
        """Those of the leases that are dead."""
        command = layout.LEASE_TAG, (b"MGET", *map(self._layout.lease, leases))
        (records,) = await self._client.call(command)
        self._leases.learn(leases, records)
        return {lease for lease, record in zip(leases, records, strict=True) if record is None}

    async def _forget(self, leases: Sequence[LeaseId]) -> None:
        if leases:
            await self._client.call((layout.LEASE_TAG, (b"ZREM", self._layout.leases, *leases)))
            for lease in leases:
                del self._since[lease]


def _chunks(buckets: int) -> list[list[int]]:
    """The buckets, a tag after the other."""
    chunks = []
    for tag in range(min(COUNT, buckets)):
        of_tag = list(range(tag, buckets, COUNT))
        chunks += [of_tag[start : start + AT_ONCE] for start in range(0, len(of_tag), AT_ONCE)]
    return chunks
