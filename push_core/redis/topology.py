"""Which server a command goes to: always the same, the master that Sentinels name, or the one in a Cluster that has the slot."""

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Sequence

from redis import exceptions as driver

from push_core.errors import Unavailable
from push_core.redis.place import Place
from push_core.redis.server import Server

ASK_AGAIN_S = 10.0  # a master is asked for again after so long, even if nothing failed
ASK_GAP_S = 0.2  # and not sooner than this after a failure


class Topology(ABC):
    """`sharded`: keys of different tags may lie on different servers, and a command takes keys of one tag only."""

    sharded = False

    @abstractmethod
    async def ready(self, deadline: float) -> None:
        """Know the servers. Raises Unavailable."""

    @abstractmethod
    def server(self, slot: int) -> Server:
        """Who has the slot, as far as is known."""

    def failed(self) -> bool:
        """A server can't be reached, or says that it is the wrong one. Whether another one may be found."""
        return False

    def moved(self, server: Server, error: driver.MovedError) -> bool:  # noqa: ARG002
        """`server` says that another one has a slot. Whether that one may be asked."""
        return False

    def at(self, host: str, port: int) -> Server:
        """A server that another one named. Raises Unavailable where none can be."""
        raise Unavailable(f"{host}:{port} is a node of a Cluster: use redis+cluster://")

    @abstractmethod
    async def close(self) -> None: ...


def topology_of(place: Place) -> Topology:
    if place.kind == "cluster":
        return Cluster(place)
    return Sentinels(place) if place.kind == "sentinel" else Single(place)


class Single(Topology):
    def __init__(self, place: Place) -> None:
        host, port = place.hosts[0]
        self._server = Server(host, port, place)

    async def ready(self, deadline: float) -> None:
        pass

    def server(self, _slot: int) -> Server:
        return self._server

    async def close(self) -> None:
        await self._server.close()


class _Found(Topology):
    """Servers that have to be asked for: once for all calls that wait, and again after a failure or a while."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._turn = asyncio.Lock()
        self._asked_at = -ASK_AGAIN_S
        self._doubtful = True
        self._failure: Unavailable | None = None

    async def ready(self, deadline: float) -> None:
        if not self._due():
            return
        began = _now()
        try:
            async with asyncio.timeout_at(deadline), self._turn:
                if not self._due():
                    return
                if self._failure is not None and self._asked_at >= began:
                    raise Unavailable(self._failure.message)  # somebody asked in vain while we waited
                gap_s = self._asked_at + ASK_GAP_S - _now()
                if gap_s > 0:
                    await asyncio.sleep(gap_s * random.uniform(1.0, 1.5))  # noqa: S311 - spreads load
                try:
                    await self._find(deadline)
                except Unavailable as error:
                    self._failure = error
                    raise
                finally:
                    self._asked_at = _now()
                self._doubtful, self._failure = False, None
        except Unavailable:
            if not self._usable():
                raise
        except TimeoutError:
            if not self._usable():
                raise Unavailable(f"{self._place.where}: nobody says in time which Redis to use") from None

    def failed(self) -> bool:
        self._doubtful = True
        return True

    def _due(self) -> bool:
        return self._doubtful or _now() >= self._asked_at + ASK_AGAIN_S

    @abstractmethod
    async def _find(self, deadline: float) -> None:
        """Raises Unavailable."""

    @abstractmethod
    def _usable(self) -> bool:
        """Whether what is known may still be true."""


class Sentinels(_Found):
    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._sentinels = [Server(host, port, place, sentinel=True) for host, port in place.hosts]
        self._master: Server | None = None

    def server(self, _slot: int) -> Server:
        assert self._master is not None
        return self._master

    async def close(self) -> None:
        for server in (*self._sentinels, self._master):
            if server is not None:
                await server.close()

    def _usable(self) -> bool:
        return self._master is not None and not self._doubtful

    async def _find(self, deadline: float) -> None:
        ask = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._place.service)
        why = ""
        for sentinel in tuple(self._sentinels):
            try:
                (answer,) = await sentinel.exchange([ask], _part(deadline, len(self._sentinels)))
            except Unavailable as error:
                why = error.message
                continue
            if isinstance(answer, driver.ResponseError):
                why = sentinel.answered(answer).message
            elif answer is not None:
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)  # who answered is asked first the next time
                await self._use(answer[0].decode(), int(answer[1]), deadline)
                return
            else:
                why = f"{self._place.where}: {sentinel.name} does not know the service {self._place.service}"
        raise Unavailable(why)

    async def _use(self, host: str, port: int, deadline: float) -> None:
        """A Sentinel may name the old master for a while: it is asked what it is."""
        known = self._master
        same = known is not None and (known.host, known.port) == (host, port)
        server = known if known is not None and same else Server(host, port, self._place)
        try:
            (role,) = await server.exchange([("ROLE",)], deadline)
            if isinstance(role, driver.ResponseError):
                raise server.answered(role)
            if role[0] != b"master":
                raise Unavailable(f"{self._place.where}: {server.name} is no master yet")
        except BaseException:
            if not same:
                await server.close()
            raise
        self._master = server
        if known is not None and not same:
            await known.close()


class Cluster(_Found):
    sharded = True

    def __init__(self, place: Place) -> None:
        super().__init__(place)
        self._servers: dict[tuple[str, int], Server] = {}
        self._ranges: list[tuple[int, int, Server]] = []
        self._of_slot: dict[int, Server] = {}

    def server(self, slot: int) -> Server:
        known = self._of_slot.get(slot)
        if known is None:
            known = next((server for first, last, server in self._ranges if first <= slot <= last), None)
            if known is None:
                self._doubtful = True
                raise Unavailable(f"{self._place.where}: nobody in the Cluster has slot {slot}")
            self._of_slot[slot] = known
        return known

    def at(self, host: str, port: int) -> Server:
        found = self._servers.get((host, port))
        if found is None:
            found = self._servers[host, port] = Server(host, port, self._place)
        return found

    def moved(self, server: Server, error: driver.MovedError) -> bool:
        """Where many slots move, all are asked for, though not with every call."""
        self._of_slot[error.slot_id] = self.at(error.host or server.host, error.port)
        self._asked_at = min(self._asked_at, _now() - ASK_AGAIN_S + ASK_GAP_S)
        return True

    async def close(self) -> None:
        for server in self._servers.values():
            await server.close()

    def _usable(self) -> bool:
        return bool(self._ranges) and not self._doubtful

    async def _find(self, deadline: float) -> None:
        known = [(server.host, server.port) for server in self._servers.values()]
        random.shuffle(known)
        asked = list(dict.fromkeys((*known, *self._place.hosts)))
        why = f"{self._place.where}: the Cluster has no nodes"
        for host, port in asked:
            server = self.at(host, port)
            try:
                (answer,) = await server.exchange([("CLUSTER", "SLOTS")], _part(deadline, len(asked)))
            except Unavailable as error:
                why = error.message
                continue
            if isinstance(answer, driver.ResponseError):
                why = server.answered(answer).message
            elif answer:
                await self._learn(answer, host)
                return
        raise Unavailable(why)

    async def _learn(self, answer: Sequence[Sequence[object]], asked: str) -> None:
        """`CLUSTER SLOTS`: first slot, last slot, the master (host, port, …), replicas …"""
        ranges = []
        for first, last, master, *_ in answer:
            assert isinstance(first, int)
            assert isinstance(last, int)
            assert isinstance(master, list)
            host = (master[0] or b"").decode()  # empty: the one who was asked
            ranges.append((first, last, self.at(host if host not in ("", "?") else asked, master[1])))
        self._ranges = ranges
        self._of_slot.clear()
        here = {(server.host, server.port) for _, _, server in ranges}
        for gone in self._servers.keys() - here:
            await self._servers.pop(gone).close()


def _now() -> float:
    return asyncio.get_running_loop().time()


def _part(deadline: float, of: int) -> float:
    """One of several is asked: its share of the time that is left."""
    return _now() + max(0.0, deadline - _now()) / max(1, min(of, 3))
