"""One device's session: the thin shell between a transport and the pure session (`sdk_proto.wire.server`).

    (Entrance) ──hello──▶ Joining ──presence──▶ Signed ──▶ Ending, Deaf ──▶ lost

Whatever its state, its end is told once: pushes without an ack as lost, its route to presence.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from push_core.messages.port import InboxRow
from push_core.metrics.catalogue import Metric
from push_core.models import DeviceKey
from push_core.presence.port import Route
from push_core.rpc.port import Offer, Receipt, ReceiptKind, Taking
from push_gateway import websocket_frames as ws
from push_gateway.link import Deaf, Ending, Link
from push_gateway.prepared import Prepared, PreparedRecall, push_frame
from push_gateway.receipts import KINDS
from push_gateway.short_ack import acked_id
from sdk_proto.wire.codec import Codec, FrameError
from sdk_proto.wire.frames import ServerFrame
from sdk_proto.wire.server import (
    Acked,
    AcksDropped,
    Close,
    Event,
    Joining,
    LiveAcked,
    Missed,
    Offered,
    RecallShown,
    Send,
    Signed,
    Unacked,
    Wished,
    Written,
)
from sdk_proto.wire.subprotocols import PROTO

if TYPE_CHECKING:
    from push_gateway.context import Context

NOBODY: DeviceKey = ("", "")
State = Joining | Signed | Ending | Deaf


class Connection(Link):
    """`key` is NOBODY until the token is verified; `more`: its inbox has something for it (`push_gateway.drains`)."""

    __slots__ = ("_held", "attempt", "epoch", "install", "key", "more", "since")
    _state: State

    def __init__(
        self, context: "Context", transport: asyncio.Transport, joining: Joining, held: list[ws.Event]
    ) -> None:
        """`held`: what came with the hello. Whoever makes it hands it the transport."""
        super().__init__(context, joining)
        self._transport = transport
        self._held: list[ws.Event] | None = held
        self.key = NOBODY
        self.epoch = 0
        self.install = ""
        self.attempt = 0
        self.since = 0
        self.more = False
        context.registry.connections.add(self)

    def hold(self, partial: ws.Partial | None, unread: bytes) -> None:
        """What the entrance has not made out yet; with something unread it has paused reading."""
        self._partial = partial
        self._unread = unread

    # ── from the transport ────────────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        state = self._state
        if type(state) is Signed and self._partial is None and not self._unread:
            # Nearly every read is one ack of pushes that are un-acked here. It goes a short way of its own, past events and frames: a third of the
            # cost of the general one (bench/hot_path.py), which takes whatever else this turns out to be.
            codec = state.codec
            if codec is PROTO and (message_id := acked_id(data)) and self._received(state, (message_id,)):
                return
            payload = ws.short(data, text=not codec.binary)
            if payload is not None:
                ids = codec.received_ids(payload)
                taken = ids is not None and self._received(state, ids)
                if not taken and self._may_send(0, len(data)):
                    self._message(ws.Message(payload, not codec.binary))
                return
        if self._held is not None:  # until the session is signed in: its peer waits, not our memory
            self._unread += data
            self._transport.pause_reading()
            return
        super().data_received(data)

    def _received(self, state: Signed, ids: Sequence[int]) -> bool:
        context = self._context
        pushes = state.received(ids, context.clock.monotonic())
        if pushes is None:
            return False
        acks = context.counters.acks
        acks["received"] = acks.get("received", 0) + len(ids)
        context.receipts.add_received(self.key, ids, pushes, context.clock.wall_ms())
        if self.more:
            for message_id in ids:
                context.drains.settled(self, message_id)
            if self.half_free:
                context.drains.go_on(self)
        return True

    def _read_on(self) -> None:
        if self._held is None:  # else who ends that goes on
            super()._read_on()

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._held = None

    # ── Timed ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_due(self, now: float) -> None:
        state = self._state
        if type(state) is Signed:
            unsent = self._transport.get_write_buffer_size()
            self._act(state.tick(now, unsent), self._context.clock.wall_ms())
            if self._state is state:
                self._context.wheel.arm(self, state.due)
        elif type(state) is not Joining:
            self._cut_off()

    # ── from the node ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_joining(self) -> bool:
        return type(self._state) is Joining

    @property
    def is_signed(self) -> bool:
        return type(self._state) is Signed

    @property
    def half_free(self) -> bool:
        return type(self._state) is Signed and self._state.half_free

    @property
    def free(self) -> int:
        """Places in the window; of a joining session those it will have."""
        state = self._state
        if type(state) is Signed:
            return state.free
        return state.terms.window(state.hello.window) if type(state) is Joining else 0

    @property
    def route(self) -> Route:
        app, device = self.key
        return Route(
            app=app,
            device=device,
            incarnation=self._context.incarnation,
            epoch=self.epoch,
            install=self.install,
            attempt=self.attempt,
            since=self.since,
        )

    def identify(self, key: DeviceKey, *, install: str, attempt: int, since: int) -> None:
        """The token is verified: from now on this is that device's."""
        self.key = key
        self.install = install
        self.attempt = attempt
        self.since = since
        self.epoch = self._context.registry.next_epoch()
        self._context.registry.join(self)

    def signed_in(self, *, ends_at: float, pending: int, ages_at: float = math.inf) -> None:
        """Presence knows it: welcome."""
        joining, context = self._state, self._context
        assert type(joining) is Joining
        now, wall = context.clock.monotonic(), context.clock.wall_ms()
        session = f"s-{context.incarnation[:8]}-{self.epoch}"
        signed, welcome, events = joining.joined(
            session=session, ends_at=ends_at, ages_at=ages_at, pending=pending, now=now, wall=wall
        )
        self._state = signed
        context.registry.sign(self)
        context.wheel.arm(self, signed.due)
        self._send([welcome], signed.codec)
        held, self._held = self._held, None
        self._act(events, wall)
        if held:
            self._take(held)
        self._read_on()

    def offer(self, offer: Offer, prepared: Prepared | None, now: float, wall: int) -> Taking:
        """One push or recall of a Deliver call; the caller has seen to its expiry. `prepared`: what is shared with other devices, if there are any."""
        if offer.recall:
            return self._offer_recall(offer.id, prepared or PreparedRecall(offer.id))
        again = offer.again
        if again and offer.id in self._context.receipts.settled(self.key):
            return Taking.ACCEPTED
        via_vendor = offer.via_vendor
        return self._offer(
            offer.id, offer.ack_timeout_ms, again or via_vendor, prepared, offer.push, again, via_vendor, now, wall
        )

    def offer_row(self, row: InboxRow, now: float, wall: int, *, again: bool) -> Taking:
        """One row of the device's inbox. `again`: it was tried before, whether the row knows that or not."""
        if row.recall:
            return self._offer_recall(row.id, PreparedRecall(row.id))
        return self._offer(row.id, row.ack_timeout_ms, True, None, row.push, again, row.via_vendor, now, wall)

    def say(self, frame: ServerFrame) -> None:
        """A frame that asks for no answer, to a session that is signed in."""
        if type(self._state) is Signed:
            self._send([frame], self._state.codec)

    def offer_live(self, message_id: int, prepared: Prepared, until: float, now: float) -> Taking:
        """A push of a broadcast, of use until `until` (monotonic). Raises FrameError for one that isn't a push."""
        state = self._state
        if type(state) is not Signed:
            return Taking.ABSENT
        frame = prepared.frame(state.codec)
        offered = state.offer_live(message_id, until=until, now=now)
        if offered is Offered.SEND:
            self._transport.write(frame)
            return Taking.ACCEPTED
        return Taking.ACCEPTED if offered is Offered.REPEAT else Taking.FULL

    # ── from the device ───────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def _codec(self) -> Codec | None:
        state = self._state
        return state.codec if isinstance(state, Joining | Signed) else None

    def _message(self, message: ws.Message) -> None:
        state, context = self._state, self._context
        if type(state) is Signed:
            now = context.clock.monotonic()
            before = state.due
            wall = context.clock.wall_ms()
            events = state.receive(message.payload, text=message.text, now=now, wall=wall)
            if self._settle(events, len(message.payload)):
                self._act(events, wall)
            if state.due < before and self._state is state:
                context.wheel.arm(self, state.due)

    def _settle(self, events: Sequence[Event], size: int) -> bool:
        """Whether what a message asks for is still within the session's budget. An ack of what we sent was asked for by us and costs nothing; any
        other message is a frame, and each answer of ours after the first another one."""
        answers = 0
        for event in events:
            if type(event) is LiveAcked or (type(event) is Acked and event.push is not None):
                self._context.guard.budgets.give_back(self, size + ws.LEAST_HEAD)
                return True
            answers += type(event) in (Send, Wished)
        return self._may_send(max(1, answers), 0)

    def _heard(self) -> None:
        if type(self._state) is Signed:
            self._state.heard(self._context.clock.monotonic())

    # ── acting ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _act(self, events: Sequence[Event], wall: int) -> None:
        context = self._context
        for event in events:
            if type(event) is Acked:
                self._acked(event, wall)
            elif isinstance(event, Send):
                state = self._state
                if isinstance(state, Signed):
                    self._send([event.frame], state.codec)
            elif isinstance(event, Written):
                self._report(event.id, ReceiptKind.WRITTEN, wall, event.push)
            elif isinstance(event, Missed):
                context.counters.add(Metric.GW_ACK_MISSES)
                self._report(event.id, ReceiptKind.MISSED, wall, event.push)
            elif isinstance(event, RecallShown):
                if self.more:
                    context.drains.settled(self, -event.id)
                self._report(event.id, ReceiptKind.RECALL_SHOWN, wall, None)
            elif isinstance(event, LiveAcked):
                context.counters.add(Metric.GW_BROADCAST_ACKS, event.status)
                context.broadcasts.acked(event.id, event.status)
            elif isinstance(event, Wished):
                self._wished(event)
            elif isinstance(event, AcksDropped):
                context.counters.add(Metric.GW_ACKS_FOREIGN, n=event.count)
            elif isinstance(event, Close):
                self.close(event.code, event.reason)
                return
        if self.more and self.half_free:
            context.drains.go_on(self)

    def _wished(self, event: Wished) -> None:
        state = self._state
        if isinstance(state, Signed):
            errors = self._context.topics.wish(self, event.topics, on=event.on)
            if errors:
                self._send(errors, state.codec)

    def _acked(self, event: Acked, wall: int) -> None:
        context = self._context
        if event.push is None and event.id in context.broadcasts:  # shown or clicked, or acked again on this connection
            context.counters.add(Metric.GW_BROADCAST_ACKS, event.status)
            return
        if self.more:
            context.drains.settled(self, event.id)
        acks = context.counters.acks
        acks[event.status] = acks.get(event.status, 0) + 1
        push = event.push
        app, device = self.key
        if push is None:
            receipt = Receipt(event.id, app, device, KINDS[event.status], wall)
        else:
            receipt = Receipt(event.id, app, device, KINDS[event.status], wall, push.written_at, 0, push.stored)
        context.receipts.add(receipt)

    def _report(self, message_id: int, kind: ReceiptKind, wall: int, push: Unacked | None) -> None:
        app, device = self.key
        written_at, deadline, stored = (push.written_at, push.deadline, push.stored) if push else (0, 0, True)
        self._context.receipts.add(Receipt(message_id, app, device, kind, wall, written_at, deadline, stored))

    def _offer(
        self,
        message_id: int,
        timeout_ms: int,
        stored: bool,
        prepared: Prepared | None,
        push: bytes,
        again: bool,
        via_vendor: bool,
        now: float,
        wall: int,
    ) -> Taking:
        state = self._state
        if type(state) is not Signed:
            return Taking.ABSENT
        codec = state.codec
        try:
            if prepared is None:
                frame = push_frame(codec, push, again=again, via_vendor=via_vendor)
            else:
                frame = prepared.frame(codec)
        except FrameError:
            # No device can ever read it: its delivery ends here rather than going round for ever.
            self._report(message_id, ReceiptKind.UNDECODABLE, wall, None)
            return Taking.ACCEPTED
        before = state.due
        offered = state.offer(message_id, timeout_ms, stored, now, wall)
        if offered is Offered.SEND:
            self._transport.write(frame)
            if state.due < before and self._state is state:
                self._context.wheel.arm(self, state.due)
            return Taking.ACCEPTED
        return Taking.ACCEPTED if offered is Offered.REPEAT else Taking.FULL

    def _offer_recall(self, message_id: int, prepared: Prepared) -> Taking:
        state = self._state
        if type(state) is not Signed:
            return Taking.ABSENT
        offered = state.offer_recall(message_id)
        if offered is Offered.SEND:
            self._transport.write(prepared.frame(state.codec))
        return Taking.FULL if offered is Offered.FULL else Taking.ACCEPTED

    def _over(self, state: Ending | Deaf, *, code: int = 0, sign_out: bool = True) -> None:
        """The session is over, if it isn't already."""
        before, context = self._state, self._context
        if isinstance(before, Ending | Deaf):
            return
        self._state = state
        if self._held is not None:
            self._held = None
            self._soon_read_on()
        if self.key is NOBODY:
            return
        context.registry.remove(self)
        context.drains.forget(self)
        context.topics.forget(self)
        if isinstance(before, Signed):
            wall = context.clock.wall_ms()
            for message_id, push in before.end():
                self._report(message_id, ReceiptKind.LOST, wall, push)
            if sign_out:
                context.sign_outs.add(self.route)
            if not context.draining and not context.stopping:
                context.guard.dropped(self.key, code)
