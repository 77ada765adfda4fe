"""Presence in Redis: routes in hash buckets, liveness in one leased key for each node (layout: `redis_layout.py`).

A batch is one round trip to each server: the routes, and beside them whether the leases that are known are alive. Only a lease seen for the first
time costs another one. An emptied Redis loses routes until their gateways register again, and nothing else.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from push_core.dsn import Dsn
from push_core.errors import Unavailable
from push_core.fuse import MakeFuse
from push_core.metrics.port import Metrics
from push_core.models import DeviceKey
from push_core.presence import redis_layout as layout
from push_core.presence import redis_scripts as scripts
from push_core.presence.port import Located, Node, Route, SignIn, Verdict
from push_core.presence.redis_layout import Layout, LeaseId
from push_core.presence.redis_leases import Leases
from push_core.presence.redis_sweep import Sweeper
from push_core.redis.client import Command, RedisClient, Script

BUCKETS = 4_096
ROUNDS = 5  # in which a batch settles against leases that are found dead one after the other
LEASES_REMEMBERED = 10_000
Part = tuple[int, bytes, tuple[bytes, ...]]
"""For one route: bucket, field, and what its script wants to know besides."""


class RedisPresence:
    """`buckets` must be the same for all programs: at 4,096 up to 1.7 million devices lie compactly."""

    def __init__(
        self, client: RedisClient, *, buckets: int = BUCKETS, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = client
        self._layout = Layout(client.prefix, buckets)
        self._leases = Leases(monotonic)
        self._sweeper = Sweeper(client, self._layout, self._leases)

    @classmethod
    def open(
        cls,
        dsn: Dsn,
        *,
        metrics: Metrics | None = None,
        fuse: MakeFuse | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> "RedisPresence":
        """Options: those of `push_core.redis.place`, and buckets. Raises ConfigError."""
        client, options = RedisClient.open(dsn, scripts.ALL, metrics, "buckets", fuse=fuse)
        return cls(client, **options, monotonic=monotonic)

    # ── leases ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def lease_node(self, node: Node, ttl_s: float) -> bool:
        record, ttl_ms = layout.pack_node(node), max(1, round(ttl_s * 1_000))
        own = self._leases.to_renew(node.incarnation)
        if not own.held or not await self._lease(own.lease, record, ttl_ms, renew=True):
            if own.held:
                self._leases.lose(own)
            elif own.lost:  # routes may name the one it has: they were void
                self._leases.draw(own)
            while not await self._lease(own.lease, record, ttl_ms, renew=False):
                self._leases.draw(own)  # it is another one's, or taken by a call of ours whose answer was lost
            own.held = True
        unbroken, own.lost = not own.lost, False
        self._leases.learn([own.lease], [record])
        return unbroken

    async def _lease(self, lease: LeaseId, record: bytes, ttl_ms: int, *, renew: bool) -> bool:
        keys = (self._layout.lease(lease), self._layout.leases, self._layout.layout)
        args = (lease, record, ttl_ms, int(renew), self._layout.stamp, LEASES_REMEMBERED)
        (answer,) = await self._client.call((layout.LEASE_TAG, scripts.LEASE.on(keys, args)), critical=True)
        return bool(answer == 1)

    async def release_node(self, incarnation: str) -> None:
        lease = self._leases.release(incarnation)
        if lease is None:
            await self.nodes()
            lease = self._leases.release(incarnation)
        if lease is not None:
            await self._client.call((layout.LEASE_TAG, (b"DEL", self._layout.lease(lease))), critical=True)

    async def nodes(self) -> list[Node]:
        leases = await self._sweeper.census()
        found = {node.incarnation: node for lease in leases if (node := self._leases.node(lease)) is not None}
        return list(found.values())

    # ── routes ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def sign_in(self, routes: Sequence[Route]) -> list[SignIn]:
        answers: list[SignIn] = [SignIn(Verdict.WON)] * len(routes)
        parts = [self._to_set(route) for route in routes]
        left, dead = list(range(len(routes))), b""
        for _ in range(ROUNDS):
            if not left:
                return answers
            olds, kept = await self._sign_in([parts[index] for index in left], dead)
            await self._look_up([old for old in olds if old is not None])
            again: list[int] = []
            for position, (index, value) in enumerate(zip(left, olds, strict=True)):
                old = self._live(value, routes[index])
                if position not in kept:
                    answers[index] = SignIn(Verdict.WON, old)
                elif old is not None and layout.stands_against(old, routes[index]):
                    answers[index] = SignIn(Verdict.SUPERSEDED, old)
                else:
                    again.append(index)
                    if value is not None and old is None:
                        dead += layout.lease_of(value)
            left = again
        raise Unavailable("presence: the same devices sign in elsewhere all the time")

    async def _sign_in(self, parts: Sequence[Part], dead: bytes) -> tuple[list[bytes | None], set[int]]:
        olds: list[bytes | None] = [None] * len(parts)
        kept: set[int] = set()
        for positions, (values, stayed) in await self._run(scripts.SIGN_IN, parts, dead):
            for position, value in zip(positions, values, strict=True):
                olds[position] = value
            kept.update(positions[number - 1] for number in stayed)
        return olds, kept

    async def register_again(self, routes: Sequence[Route]) -> list[bool]:
        answers = [False] * len(routes)
        parts = [self._to_set(route) for route in routes]
        left = list(range(len(routes)))
        dead = {lease for route in routes for lease in self._leases.own(route.incarnation).past}
        for _ in range(ROUNDS):
            if not left:
                return answers
            standing: dict[int, LeaseId] = {}
            batch = [parts[index] for index in left]
            for positions, replies in await self._run(scripts.REGISTER_AGAIN, batch, layout.join(list(dead))):
                for position, reply in zip(positions, replies, strict=True):
                    if isinstance(reply, bytes):
                        standing[left[position]] = reply
                    else:
                        answers[left[position]] = bool(reply)
            await self._look_up(standing.values())
            left = [index for index, lease in standing.items() if self._yields(lease, routes[index].incarnation)]
            dead |= {standing[index] for index in left}
        raise Unavailable("presence: the same devices sign in elsewhere all the time")

    async def sign_out(self, routes: Sequence[Route]) -> list[bool]:
        if any(self._leases.of(route.incarnation) is None for route in routes):
            await self.nodes()  # who is not among them is dead, and its routes are void
        answers = [False] * len(routes)
        indices: list[int] = []
        parts: list[Part] = []
        for index, route in enumerate(routes):
            lease = self._leases.of(route.incarnation)
            if lease is not None:
                bucket, name = self._layout.place(route.app, route.device)
                parts.append((bucket, name, (layout.identity(lease, route.epoch),)))
                indices.append(index)
        for positions, replies in await self._run(scripts.SIGN_OUT, parts, None, leases=False):
            for position, reply in zip(positions, replies, strict=True):
                answers[indices[position]] = reply == 1
        return answers

    async def locate(self, keys: Sequence[DeviceKey]) -> list[Located | None]:
        place = self._layout.place
        parts: list[Part] = [(*place(app, device), ()) for app, device in keys]
        values: list[bytes | None] = [None] * len(keys)
        for positions, replies in await self._run(scripts.LOCATE, parts, None):
            if len(replies) == len(keys):
                values = replies
                break
            for position, reply in zip(positions, replies, strict=True):
                values[position] = reply
        await self._look_up({value[: layout.LEASE_BYTES] for value in values if value is not None})
        node_of, unpack = self._leases.node, layout.unpack_route
        located: list[Located | None] = []
        for (app, device), value in zip(keys, values, strict=True):
            node = node_of(value[: layout.LEASE_BYTES]) if value is not None else None
            if node is None or value is None:
                located.append(None)
            else:
                located.append(Located(unpack(value, app, device, node.incarnation), node))
        return located

    async def sweep(self, limit: int = 1_000) -> int:
        return await self._sweeper.sweep(limit)

    async def ping(self) -> None:
        await self._sweeper.census()

    async def close(self) -> None:
        await self._client.close()

    # ── the way to Redis ──────────────────────────────────────────────────────────────────────────────────────────────

    def _to_set(self, route: Route) -> Part:
        bucket, name = self._layout.place(route.app, route.device)
        return bucket, name, (layout.pack_route(self._leases.own(route.incarnation).lease, route),)

    async def _run(
        self, script: Script, parts: Sequence[Part], first: bytes | None, *, leases: bool = True
    ) -> list[tuple[Sequence[int], Any]]:
        """The script over these routes: once, or in a Cluster once for each tag among them. Its answers, each with the positions that it is of."""
        if not parts:
            return []
        shares: dict[int, Sequence[int]]
        if self._client.sharded:
            by_tag: dict[int, list[int]] = {}
            for position, (bucket, _, _) in enumerate(parts):
                by_tag.setdefault(layout.tag_of_bucket(bucket), []).append(position)
            shares = dict(by_tag)
        else:
            shares = {layout.LEASE_TAG: range(len(parts))}
        keys = self._layout.keys
        commands: list[Command] = []
        for tag, positions in shares.items():
            args: list[bytes] = [first] if first is not None else []
            for position in positions:
                _, name, more = parts[position]
                args.append(name)
                args.extend(more)
            commands.append((tag, script.on([keys[parts[position][0]] for position in positions], args)))
        asked = self._leases.to_ask() if leases else []
        if asked:
            commands.append(self._ask(asked))
        replies = await self._client.call(*commands)
        if asked:
            self._leases.learn(asked, replies.pop())
        return list(zip(shares.values(), replies, strict=True))

    def _ask(self, leases: Sequence[LeaseId]) -> Command:
        return layout.LEASE_TAG, (b"MGET", *map(self._layout.lease, leases))

    async def _look_up(self, values: Iterable[bytes]) -> None:
        """Learn whether the leases that these values (or leases) name are alive, where it is not known."""
        unknown = self._leases.unknown({value[: layout.LEASE_BYTES] for value in values})
        if unknown:
            (records,) = await self._client.call(self._ask(unknown))
            self._leases.learn(unknown, records)

    def _yields(self, lease: LeaseId, incarnation: str) -> bool:
        """To a route of this incarnation: its lease is dead, or a twin that was taken by a call whose answer was lost."""
        node = self._leases.node(lease)
        return node is None or node.incarnation == incarnation

    def _live(self, value: bytes | None, route: Route) -> Route | None:
        if value is None:
            return None
        node = self._leases.node(layout.lease_of(value))
        return layout.unpack_route(value, route.app, route.device, node.incarnation) if node is not None else None
