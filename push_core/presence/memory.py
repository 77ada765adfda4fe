"""Presence in this process: leases by the monotonic clock, routes that are void when their lease is gone."""

import math
import time
from collections.abc import Callable, Sequence

from push_core.errors import Overloaded, Unavailable
from push_core.models import DeviceKey
from push_core.presence.port import Located, Node, Route, SignIn, Verdict


class _Lease:
    """One unbroken time of an incarnation's lease and the routes set under it. A lease that ran out is never revived: the
    next call of its node makes a new one, so that old routes stay void without being touched."""

    __slots__ = ("keys", "node", "until")

    def __init__(self, node: Node | None, until: float) -> None:
        self.node = node
        self.until = until
        self.keys: dict[DeviceKey, None] = {}


class MemoryPresence:
    """At most `size` routes: a `sign_in` or `register_again` that could go beyond is refused whole (Overloaded).

    The last `remembered` incarnations are known even after their end, so that a node that slept is told that its lease was lost.
    """

    def __init__(
        self, size: int = 1_000_000, remembered: int = 1_000, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._size = size
        self._remembered = remembered
        self._monotonic = monotonic
        self._leases: dict[str, _Lease] = {}
        self._ended: list[_Lease] = []  # replaced or given up, with routes left for the sweep
        self._routes: dict[DeviceKey, tuple[Route, _Lease]] = {}
        self._closed = False

    async def lease_node(self, node: Node, ttl_s: float) -> bool:
        now = self._now()
        until = now + ttl_s
        lease = self._leases.pop(node.incarnation, None)
        unbroken = lease is None or lease.until > now
        if lease is not None and unbroken:
            lease.node, lease.until = node, until
        else:
            if lease is not None:
                self._end(lease)
            lease = _Lease(node, until)
        self._leases[node.incarnation] = lease  # at the end: in order of the last renewal
        self._forget_oldest(now)
        return unbroken

    async def release_node(self, incarnation: str) -> None:
        self._now()
        lease = self._leases.pop(incarnation, None)
        if lease is not None:
            lease.until = -math.inf
            self._end(lease)

    async def nodes(self) -> list[Node]:
        now = self._now()
        return [lease.node for lease in self._leases.values() if lease.node is not None and lease.until > now]

    async def sign_in(self, routes: Sequence[Route]) -> list[SignIn]:
        now = self._now()
        self._check_room(routes)
        return [self._sign_in(route, now) for route in routes]

    async def register_again(self, routes: Sequence[Route]) -> list[bool]:
        now = self._now()
        self._check_room(routes)
        return [self._register_again(route, now) for route in routes]

    async def sign_out(self, routes: Sequence[Route]) -> list[bool]:
        self._now()
        return [self._sign_out(route) for route in routes]

    async def locate(self, keys: Sequence[DeviceKey]) -> list[Located | None]:
        now = self._now()
        return [self._locate(key, now) for key in keys]

    async def sweep(self, limit: int = 1_000) -> int:
        now = self._now()
        over = [lease for lease in self._leases.values() if lease.until <= now and lease.keys]
        gone = 0
        for lease in (*self._ended, *over):
            while lease.keys and gone < limit:
                key, _ = lease.keys.popitem()
                del self._routes[key]
                gone += 1
        self._ended = [lease for lease in self._ended if lease.keys]
        return gone

    async def ping(self) -> None:
        self._now()

    async def close(self) -> None:
        self._closed = True

    def __len__(self) -> int:
        """Entries held, void ones included."""
        return len(self._routes)

    def _now(self) -> float:
        if self._closed:
            raise Unavailable("presence is closed")
        return self._monotonic()

    def _sign_in(self, route: Route, now: float) -> SignIn:
        old = self._live(route, now)
        if old is not None and old.install and old.install == route.install and old.attempt > route.attempt:
            return SignIn(Verdict.SUPERSEDED, old)
        self._set(route)
        return SignIn(Verdict.WON, old)

    def _register_again(self, route: Route, now: float) -> bool:
        old = self._live(route, now)
        if old is not None and (old.incarnation != route.incarnation or old.epoch > route.epoch):
            return False
        self._set(route)
        return True

    def _sign_out(self, route: Route) -> bool:
        key = route.app, route.device
        entry = self._routes.get(key)
        if entry is None or entry[0].incarnation != route.incarnation or entry[0].epoch != route.epoch:
            return False
        del self._routes[key]
        del entry[1].keys[key]
        return True

    def _locate(self, key: DeviceKey, now: float) -> Located | None:
        entry = self._routes.get(key)
        if entry is None or entry[1].until <= now or entry[1].node is None:
            return None
        return Located(entry[0], entry[1].node)

    def _live(self, route: Route, now: float) -> Route | None:
        entry = self._routes.get((route.app, route.device))
        return entry[0] if entry is not None and entry[1].until > now else None

    def _set(self, route: Route) -> None:
        key = route.app, route.device
        lease = self._leases.get(route.incarnation)
        if lease is None:
            # No lease was ever taken: the route is void, and the node's first lease call answers False, "register again".
            lease = self._leases[route.incarnation] = _Lease(None, -math.inf)
        entry = self._routes.get(key)
        if entry is not None:
            del entry[1].keys[key]
        self._routes[key] = route, lease
        lease.keys[key] = None

    def _check_room(self, routes: Sequence[Route]) -> None:
        if len(self._routes) + len(routes) > self._size:
            fresh = len({key for route in routes if (key := (route.app, route.device)) not in self._routes})
            if len(self._routes) + fresh > self._size:
                raise Overloaded(f"presence holds {len(self._routes)} routes already (limit {self._size})")

    def _end(self, lease: _Lease) -> None:
        if lease.keys:
            self._ended.append(lease)

    def _forget_oldest(self, now: float) -> None:
        if len(self._leases) > self._remembered:
            over = [incarnation for incarnation, lease in self._leases.items() if lease.until <= now]
            for incarnation in over[: len(self._leases) - self._remembered]:
                self._end(self._leases.pop(incarnation))
