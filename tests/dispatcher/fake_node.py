"""A gateway as a dispatcher sees it: sessions with a window, told to misbehave."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from push_core.errors import Unavailable
from push_core.presence.port import Node, Presence, Route
from push_core.rpc.inproc import InprocListener, InprocRpc
from push_core.rpc.port import (
    Broadcast,
    Cast,
    Deliver,
    Delivered,
    Kick,
    Offer,
    Poke,
    Stage,
    Subscription,
    Taking,
    Tally,
)


@dataclass(slots=True)
class FakeNode:
    """`plan` overrides the answer for a device. `gate`, when set, holds every call until it is opened."""

    rpc: InprocRpc
    presence: Presence
    incarnation: str = "gw-1#1"
    name: str = "gw-1"
    plan: dict[str, Taking] = field(default_factory=dict)
    sessions: set[tuple[str, str]] = field(default_factory=set)
    unacked: dict[tuple[str, str], dict[int, Offer]] = field(default_factory=dict)
    written: list[tuple[int, str, str, bool]] = field(default_factory=list)  # id, app, device, again
    recalls: list[tuple[int, str]] = field(default_factory=list)
    calls: list[Deliver] = field(default_factory=list)
    pokes: list[Poke] = field(default_factory=list)
    gate: asyncio.Event | None = None
    refuse_pokes: bool = False
    tallies: dict[int, Tally] = field(default_factory=dict)  # what it says of casts that it was told of
    casts: list[Cast] = field(default_factory=list)  # as they came
    tally: Tally = field(default_factory=lambda: Tally(Stage.DONE, written=3))  # of a cast that comes first
    lose_answers: bool = False
    listener: InprocListener | None = None
    epoch: int = 0

    @property
    def node(self) -> Node:
        assert self.listener is not None
        return Node(incarnation=self.incarnation, name=self.name, address=self.listener.address, zone="default")

    async def start(self, lease_s: float = 1e9) -> "FakeNode":
        self.listener = self.rpc.listen(node=self, zone="default")
        await self.listener.start()
        await self.presence.lease_node(self.node, lease_s)
        return self

    async def connect(self, *devices: str, app: str = "courier") -> None:
        for device in devices:
            self.epoch += 1
            self.sessions.add((app, device))
            self.unacked.setdefault((app, device), {})
            await self.presence.sign_in([self.route(device, app=app)])

    def route(self, device: str, *, app: str = "courier") -> Route:
        return Route(app=app, device=device, incarnation=self.incarnation, epoch=self.epoch)

    async def die(self) -> None:
        """Without a word: its lease runs out, nobody listens."""
        assert self.listener is not None
        await self.listener.stop(0)
        await self.presence.release_node(self.incarnation)

    async def deliver(self, call: Deliver) -> Delivered:
        self.calls.append(call)
        if self.gate is not None:
            await self.gate.wait()
        takings = bytearray()
        for offer in call.offers:
            for device in offer.devices:
                takings.append(self._take(call, offer, device))
        if self.lose_answers:
            raise Unavailable("the answer is lost")  # inproc makes DeadlineExceeded of it: unknown
        return Delivered(bytes(takings))

    def _take(self, call: Deliver, offer: Offer, device: str) -> Taking:
        key = offer.app, device
        if call.incarnation != self.incarnation or (key not in self.sessions and device not in self.plan):
            return Taking.ABSENT
        if device in self.plan:
            return self.plan[device]
        if offer.recall:
            self.recalls.append((offer.id, device))
            return Taking.ACCEPTED
        if offer.id not in self.unacked[key]:
            self.unacked[key][offer.id] = offer
            self.written.append((offer.id, offer.app, device, offer.again))
        return Taking.ACCEPTED

    async def kick(self, kicks: Sequence[Kick]) -> list[bool]:
        return [False] * len(kicks)

    async def poke(self, pokes: Sequence[Poke]) -> None:
        if self.refuse_pokes:
            raise Unavailable("not now")
        self.pokes.extend(pokes)

    async def broadcast(self, call: Broadcast) -> list[Tally]:
        if self.gate is not None:
            await self.gate.wait()
        if call.incarnation != self.incarnation:
            return [Tally(Stage.ELSEWHERE)] * len(call.casts)
        self.casts.extend(call.casts)
        answers = [self.tallies.setdefault(cast.id, self.tally) for cast in call.casts]
        if self.lose_answers:
            raise Unavailable("the answer is lost")
        return answers

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> list[bool]:
        return [(each.app, each.device) in self.sessions for each in subscriptions]
