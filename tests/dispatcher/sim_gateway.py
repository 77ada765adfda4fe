"""Gateways and phones for the simulation: windows, un-acked pushes, deadlines, receipts that are reported until they are taken, inboxes that are
read on connect and when the gateway is told. Behaves as the contract between the programs says, and breaks where it may."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from push_core.errors import Unavailable
from push_core.messages.port import InboxAsk
from push_core.presence.port import Node, Route
from push_core.rpc.inproc import InprocListener
from push_core.rpc.port import Deliver, Delivered, Kick, Offer, Poke, Receipt, ReceiptKind, Taking
from tests.dispatcher.world import APP, World
from tests.support.audience import NoAudience

WINDOW = 4
K = ReceiptKind


@dataclass(slots=True)
class Phone:
    """`screen` is what its user saw: ids, each once."""

    name: str
    acks: float = 0.8  # how often it acks at once
    screen: set[int] = field(default_factory=set)
    recalled: set[int] = field(default_factory=set)


@dataclass(slots=True)
class Unacked:
    deadline: int
    stored: bool
    missed: bool = False


@dataclass(slots=True)
class Session:
    phone: Phone
    route: Route
    unacked: dict[int, Unacked] = field(default_factory=dict)
    more: bool = False


@dataclass(slots=True)
class Gateway(NoAudience):
    world: World
    random: Random
    incarnation: str
    sessions: dict[str, Session] = field(default_factory=dict)
    receipts: list[Receipt] = field(default_factory=list)
    lose_answers: float = 0.0
    listener: InprocListener | None = None
    epoch: int = 0
    alive: bool = True

    @property
    def node(self) -> Node:
        assert self.listener is not None
        return Node(incarnation=self.incarnation, name="gw", address=self.listener.address, zone="default")

    async def start(self) -> "Gateway":
        self.listener = self.world.rpc.listen(node=self, zone="default")
        await self.listener.start()
        await self.world.true_presence.lease_node(self.node, 1e9)
        return self

    async def die(self) -> None:
        """With everything it held, receipts not yet reported included."""
        assert self.listener is not None
        self.alive = False
        await self.listener.stop(0)
        await self.world.true_presence.release_node(self.incarnation)

    # ── phones ────────────────────────────────────────────────────────────────────────────────────────────────────────

    async def connect(self, phone: Phone) -> None:
        self.epoch += 1
        route = Route(app=APP, device=phone.name, incarnation=self.incarnation, epoch=self.epoch)
        session = self.sessions[phone.name] = Session(phone, route)
        await self.world.true_presence.sign_in([route])
        await self._drain(session)

    async def disconnect(self, name: str, *, tell_presence: bool) -> None:
        session = self.sessions.pop(name)
        for message_id, entry in session.unacked.items():
            self._report(message_id, name, K.LOST, deadline=entry.deadline)
        if tell_presence:
            await self.world.true_presence.sign_out([session.route])

    def _write(self, session: Session, message_id: int, ack_timeout_ms: int, *, stored: bool) -> None:
        session.unacked[message_id] = Unacked(self.world.now + ack_timeout_ms, stored)
        if self.random.random() < session.phone.acks:
            self.ack(session, message_id)

    def ack(self, session: Session, message_id: int) -> None:
        session.phone.screen.add(message_id)
        entry = session.unacked.pop(message_id)
        self._report(message_id, session.phone.name, K.RECEIVED, stored=entry.stored)
        if self.random.random() < 0.1:
            self._report(message_id, session.phone.name, K.DISPLAYED)

    async def tick(self, *, all_ack: bool = False) -> None:
        """Deadlines, phones that ack late, sessions that have room again, receipts."""
        for session in list(self.sessions.values()):
            for message_id, entry in list(session.unacked.items()):
                if all_ack or self.random.random() < 0.2:
                    self.ack(session, message_id)
                elif not entry.missed and entry.deadline <= self.world.now:
                    entry.missed = entry.stored = True
                    self._report(message_id, session.phone.name, K.MISSED, deadline=entry.deadline)
            if session.more and len(session.unacked) <= WINDOW // 2:
                await self._drain(session)
        await self.flush()

    async def flush(self) -> None:
        """As often as not the answer gets lost, and the same receipts go out again."""
        if not self.receipts:
            return
        told = list(self.receipts)
        try:
            await self.world.parts.receipts.report(told)
        except Unavailable:
            return
        if self.random.random() < 0.8:
            del self.receipts[: len(told)]  # more may have come meanwhile

    def _report(
        self, message_id: int, device: str, kind: ReceiptKind, *, deadline: int = 0, stored: bool = True
    ) -> None:
        self.receipts.append(Receipt(message_id, APP, device, kind, self.world.now, deadline=deadline, stored=stored))

    async def _drain(self, session: Session) -> None:
        session.more = False
        (page,) = await self.world.true_messages.inbox([InboxAsk(APP, session.phone.name, 1_000)], now=self.world.now)
        acked = {one.id for one in self.receipts if one.device == session.phone.name and one.kind is K.RECEIVED}
        for row in page.rows:
            if row.recall:
                session.phone.recalled.add(row.id)
                self._report(row.id, session.phone.name, K.RECALL_SHOWN)
            elif row.id in session.unacked or row.id in acked:
                continue
            elif len(session.unacked) >= WINDOW:
                session.more = True
            else:
                self._write(session, row.id, row.ack_timeout_ms, stored=True)

    # ── NodeService ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def deliver(self, call: Deliver) -> Delivered:
        if self.random.random() < self.lose_answers / 2:
            raise Unavailable("nothing of it was done, and nobody knows")
        takings = bytes([self._take(call, offer, device) for offer in call.offers for device in offer.devices])
        if self.random.random() < self.lose_answers:
            raise Unavailable("all of it was done, and nobody knows")
        return Delivered(takings)

    def _take(self, call: Deliver, offer: Offer, device: str) -> Taking:
        session = self.sessions.get(device)
        if session is None or call.incarnation != self.incarnation or offer.app != APP:
            return Taking.ABSENT
        if offer.recall:
            session.phone.recalled.add(offer.id)
            self._report(offer.id, device, K.RECALL_SHOWN)
            return Taking.ACCEPTED
        if offer.expires <= self.world.now:
            return Taking.EXPIRED
        if offer.id in session.unacked:
            return Taking.ACCEPTED
        acked = (one for one in self.receipts if one.kind is K.RECEIVED and one.device == device)
        if offer.again and any(one.id == offer.id for one in acked):
            return Taking.ACCEPTED
        if len(session.unacked) >= WINDOW:
            session.more = True
            return Taking.FULL
        self._write(session, offer.id, offer.ack_timeout_ms, stored=offer.again)
        return Taking.ACCEPTED

    async def kick(self, kicks: Sequence[Kick]) -> list[bool]:
        return [False] * len(kicks)

    async def poke(self, pokes: Sequence[Poke]) -> None:
        if self.random.random() < self.lose_answers:
            raise Unavailable("not now")
        for poke in pokes:
            session = self.sessions.get(poke.device)
            if session is not None:
                await self._drain(session)
