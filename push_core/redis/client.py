"""Every command to Redis passes `RedisClient.call`: deadline, number in flight, counter and errors are its.

A command is sent again only when it was certainly not done: the server says so, or was never reached, and another one may be right. What
was sent and not answered is `DeadlineExceeded`, and the caller's affair.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any

from redis import exceptions as driver

from push_core.dsn import Dsn
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.fuse import MakeFuse
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.redis.place import Place
from push_core.redis.server import Args, Server
from push_core.redis.tags import SLOT_OF
from push_core.redis.topology import topology_of

Command = tuple[int, Args]
"""The tag of its keys (a number, `push_core.redis.tags`), and the command."""

TRIES = 4


class Script:
    """Lua that is known by its hash once a server has seen it."""

    __slots__ = ("sha", "source")

    def __init__(self, source: str) -> None:
        self.source = source.encode()
        self.sha = hashlib.sha1(self.source, usedforsecurity=False).hexdigest().encode()

    def on(self, keys: Sequence[bytes], args: Sequence[str | bytes | int]) -> Args:
        return (b"EVALSHA", self.sha, len(keys), *keys, *args)


class RedisClient:
    """Scripts must be named here (`scripts`), so that a server which lost them is given them again."""

    def __init__(
        self, place: Place, scripts: Sequence[Script], metrics: Metrics | None = None, fuse: MakeFuse | None = None
    ) -> None:
        self.prefix = place.prefix.encode()
        self.timeout_s = place.timeout_s
        self._where = place.where
        self._store = place.where.rpartition(" ")[2]
        self._topology = topology_of(place)
        self._sources: dict[object, bytes] = {script.sha: script.source for script in scripts}
        self._metrics = metrics
        self._fuse = fuse(place.where) if fuse is not None else None
        self._closed = False

    @classmethod
    def open(
        cls, dsn: Dsn, scripts: Sequence[Script], metrics: Metrics | None, *own: str, fuse: MakeFuse | None = None
    ) -> tuple["RedisClient", dict[str, int]]:
        """The client, and the options of the adapter that are given. Needs no server. Raises ConfigError."""
        place, options = Place.of(dsn, *own)
        return cls(place, scripts, metrics, fuse), options

    @property
    def sharded(self) -> bool:
        """A Cluster: a command takes keys of one tag only."""
        return self._topology.sharded

    async def call(self, *commands: Command, critical: bool = False) -> list[Any]:
        """The answers in order: one round trip to each server. None of the commands may build on another one. `critical` ones
        (leases, probes) are sent whatever the fuse thinks. Raises Unavailable when none was done, DeadlineExceeded when some were or may have been."""
        fuse = self._fuse
        try:
            if fuse is None:
                replies = await self._call(commands)
            else:
                replies = await fuse.run(lambda: self._call(commands), critical=critical)
        except Unavailable as error:
            self._count("unknown" if isinstance(error, DeadlineExceeded) else "unavailable")
            raise
        self._count("done")
        return replies

    async def close(self) -> None:
        self._closed = True
        await self._topology.close()

    async def _call(self, commands: Sequence[Command]) -> list[Any]:
        if self._closed:
            raise Unavailable(f"{self._where}: closed")
        deadline = asyncio.get_running_loop().time() + self.timeout_s
        replies: list[Any] = [None] * len(commands)
        args = [each for _, each in commands]
        todo = list(range(len(commands)))
        touched = False  # whether anything was done, or may have been
        failure: Unavailable | None = None
        for _ in range(TRIES):
            again: list[int] = []
            try:
                await self._topology.ready(deadline)
                shares = self._share(commands, todo)
            except Unavailable as error:
                failure = error
                break
            final = False
            for server, indices, answer in await self._exchange(shares, args, deadline):
                if isinstance(answer, Unavailable):
                    failure = answer
                    other = self._topology.failed()
                    if isinstance(answer, DeadlineExceeded):
                        touched = final = True
                    elif other:
                        again += indices
                    else:
                        final = True
                    continue
                for index, reply in zip(indices, answer, strict=True):
                    if isinstance(reply, driver.AskError):
                        reply = await self._asking(server, reply, args[index], deadline)
                    if not isinstance(reply, driver.ResponseError):
                        replies[index] = reply
                        touched = True
                        continue
                    failure = server.answered(reply)
                    if self._repeats(reply, server, args, index):
                        again.append(index)
                    else:
                        touched, final = touched or isinstance(failure, DeadlineExceeded), True
            if final:
                break
            if not again:
                return replies
            todo = again
        assert failure is not None
        if touched and not isinstance(failure, DeadlineExceeded):
            raise DeadlineExceeded(f"{failure.message}; a part was done")
        raise failure

    def _share(self, commands: Sequence[Command], todo: Sequence[int]) -> dict[Server, list[int]]:
        shares: dict[Server, list[int]] = {}
        for index in todo:
            shares.setdefault(self._topology.server(SLOT_OF[commands[index][0]]), []).append(index)
        return shares

    async def _exchange(
        self, shares: dict[Server, list[int]], args: Sequence[Args], deadline: float
    ) -> list[tuple[Server, list[int], list[Any] | Unavailable]]:
        async def one(server: Server, indices: list[int]) -> tuple[Server, list[int], list[Any] | Unavailable]:
            try:
                return server, indices, await server.exchange([args[index] for index in indices], deadline)
            except Unavailable as error:
                return server, indices, error

        if len(shares) == 1:
            ((server, indices),) = shares.items()
            return [await one(server, indices)]
        return await asyncio.gather(*(one(server, indices) for server, indices in shares.items()))

    def _repeats(self, error: driver.ResponseError, server: Server, args: list[Args], index: int) -> bool:
        """Whether a command that was answered with an error was not done and should be sent again, perhaps elsewhere."""
        if isinstance(error, driver.NoScriptError):
            source = self._sources.get(args[index][1])
            if source is None:
                return False
            args[index] = (b"EVAL", source, *args[index][2:])
            return True
        if isinstance(error, driver.MovedError):
            return self._topology.moved(server, error)
        if isinstance(
            error, driver.TryAgainError | driver.ReadOnlyError | driver.MasterDownError | driver.ClusterDownError
        ):
            return self._topology.failed()
        return False

    async def _asking(self, server: Server, error: driver.AskError, command: Args, deadline: float) -> Any:
        """The slot is moving, and this key is at its new place already."""
        there = self._topology.at(error.host or server.host, error.port)
        try:
            return (await there.exchange([(b"ASKING",), command], deadline))[1]
        except Unavailable:
            return error

    def _count(self, outcome: str) -> None:
        if self._metrics is not None:
            self._metrics.count(Metric.REDIS_CALLS, store=self._store, outcome=outcome)
