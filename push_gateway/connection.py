"""One device's connection: the thin shell between a transport and the pure session (`sdk_proto.wire.server`).

    Upgrading ──101──▶ Unsigned ──hello──▶ Joining ──presence──▶ Signed ──▶ Ending, Deaf ──▶ lost

No task, no timer and no buffer of its own: it is an entry of the one wheel, and keeps bytes only while a frame is incomplete.
Whatever its state, its end is told once: pushes without an ack as lost, its route to presence.
"""

import asyncio
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from push_core.messages.port import InboxRow
from push_core.metrics.catalogue import Metric
from push_core.models import DeviceKey
from push_core.presence.port import Route
from push_core.rpc.port import Offer, Receipt, ReceiptKind, Taking
from push_gateway import handshake
from push_gateway import websocket_frames as ws
from push_gateway.prepared import Prepared, PreparedPush, PreparedRecall
from push_gateway.receipts import KINDS
from push_gateway.wheel import Timed
from sdk_proto.wire.close import CloseCode
from sdk_proto.wire.codec import Codec, FrameError
from sdk_proto.wire.frames import Bye, ServerFrame
from sdk_proto.wire.server import (
    Acked,
    AcksDropped,
    Close,
    Event,
    Joining,
    Missed,
    Offered,
    RecallShown,
    Send,
    Signed,
    Unacked,
    Unsigned,
    Written,
)

if TYPE_CHECKING:
    from push_gateway.context import Context

NOBODY: DeviceKey = ("", "")
READ_AT_ONCE = 4_096  # bytes looked at before everybody else has a turn: what fits may be hundreds of frames


class Upgrading:
    """The upgrade request is arriving."""

    __slots__ = ("head",)

    def __init__(self) -> None:
        self.head = b""


class Ending:
    """We closed: only the peer's own close is of interest."""

    __slots__ = ()


class Deaf:
    """What comes can't be understood any more, or doesn't matter: thrown away until the connection ends."""

    __slots__ = ()


State = Upgrading | Unsigned | Joining | Signed | Ending | Deaf
_ENDING, _DEAF = Ending(), Deaf()


class Connection(asyncio.Protocol, Timed):
    """`key` is NOBODY until the token is verified; `more`: its inbox has something for it (`push_gateway.drains`)."""

    __slots__ = (
        "_context",
        "_held",
        "_partial",
        "_state",
        "_transport",
        "_unread",
        "attempt",
        "epoch",
        "install",
        "key",
        "more",
        "since",
    )
    _transport: asyncio.Transport

    def __init__(self, context: "Context") -> None:
        self.armed = 0
        self._context = context
        self._state: State = Upgrading()
        self._partial: ws.Partial | None = None
        self._held: list[ws.Event] | None = None  # while joining: what came with the hello
        self._unread = b""  # received and not looked at yet; reading is paused as long as there is something
        self.key = NOBODY
        self.epoch = 0
        self.install = ""
        self.attempt = 0
        self.since = 0
        self.more = False

    # ── asyncio.Protocol ──────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast(asyncio.Transport, transport)  # uvloop's are none by class
        context = self._context
        self._transport = transport
        connections = context.registry.connections
        connections.add(self)
        if context.stopping or len(connections) > context.settings.max_connections:
            self._state = _DEAF
            transport.abort()
            return
        transport.set_write_buffer_limits(high=context.settings.unsent_limit_bytes)
        context.wheel.arm(self, context.clock.monotonic() + context.settings.upgrade_timeout_s)

    def data_received(self, data: bytes) -> None:
        if self._held is not None:  # until the session is signed in: its peer waits, not our memory
            self._unread += data
            self._transport.pause_reading()
            return
        if len(data) > READ_AT_ONCE:  # a flood: one event loop serves all, and it would be read for as long as it comes
            self._unread = data[READ_AT_ONCE:]
            data = data[:READ_AT_ONCE]
            self._transport.pause_reading()
            self._soon_read_on()
        self._read(data)

    def _soon_read_on(self) -> None:
        asyncio.get_running_loop().call_soon(self._read_on)

    def _read_on(self) -> None:
        if self._held is not None:  # who ends that goes on
            return
        data, self._unread = self._unread, b""
        if len(data) <= READ_AT_ONCE:
            self._resume_reading()
        if data:
            self.data_received(data)

    def _read(self, data: bytes) -> None:
        state = self._state
        if type(state) is Deaf:
            return
        if type(state) is Upgrading:
            data = self._upgrade(state, data)
            if not data:
                return
        events, self._partial = ws.read(self._partial, data, self._context.settings.max_message_bytes)
        self._take(events)

    def eof_received(self) -> None:
        """Half-closed connections make no sense here: the transport closes itself."""

    def pause_writing(self) -> None:
        self.close(CloseCode.TOO_SLOW, "what was sent is not read")

    def connection_lost(self, _: Exception | None) -> None:
        self._over(_DEAF)
        self._partial = self._held = None
        self._unread = b""
        self._context.wheel.cancel(self)
        self._context.registry.connections.discard(self)

    # ── Timed ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def on_due(self, now: float) -> None:
        state = self._state
        if type(state) is Signed:
            unsent = self._transport.get_write_buffer_size()
            self._act(state.tick(now, unsent), self._context.clock.wall_ms())
            if self._state is state:
                self._context.wheel.arm(self, state.due)
        elif type(state) is Unsigned:
            late = state.tick(now)
            if late is not None:
                self.close(late.code, late.reason)
            else:
                self._context.wheel.arm(self, state.due)
        elif type(state) is not Joining:
            self._transport.abort()

    # ── from the node ─────────────────────────────────────────────────────────────────────────────────────────────────

    @property
    def is_open(self) -> bool:
        return not isinstance(self._state, Ending | Deaf)

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

    def signed_in(self, *, ends_at: float, pending: int) -> None:
        """Presence knows it: welcome."""
        joining, context = self._state, self._context
        assert type(joining) is Joining
        now, wall = context.clock.monotonic(), context.clock.wall_ms()
        session = f"s-{context.incarnation[:8]}-{self.epoch}"
        signed, welcome, events = joining.joined(session=session, ends_at=ends_at, pending=pending, now=now, wall=wall)
        self._state = signed
        context.registry.sign(self)
        context.wheel.arm(self, signed.due)
        self._send([welcome], signed.codec)
        held, self._held = self._held, None
        self._act(events, wall)
        if held:
            self._take(held)
        self._read_on()

    def offer(self, offer: Offer, prepared: Prepared, now: float, wall: int) -> Taking:
        """One push or recall of a Deliver call; the caller has seen to its expiry."""
        if offer.recall:
            return self._offer_recall(offer.id, prepared)
        if offer.again and offer.id in self._context.receipts.settled(self.key):
            return Taking.ACCEPTED
        stored = offer.again or offer.via_vendor
        return self._offer(offer.id, offer.ack_timeout_ms, stored, prepared, now, wall)

    def offer_row(self, row: InboxRow, now: float, wall: int, *, again: bool) -> Taking:
        """One row of the device's inbox. `again`: it was tried before, whether the row knows that or not."""
        if row.recall:
            return self._offer_recall(row.id, PreparedRecall(row.id))
        prepared = PreparedPush(row.push, again=again, via_vendor=row.via_vendor)
        return self._offer(row.id, row.ack_timeout_ms, True, prepared, now, wall)

    def close(self, code: int, reason: str = "", *, retry_after_ms: int = 0, sign_out: bool = True) -> None:
        """`bye`, then a close with the same code; what can't be sent within the linger is thrown away. Nothing happens if it is
        closed already. Without `sign_out` the route is another connection's by now."""
        state, context = self._state, self._context
        if isinstance(state, Ending | Deaf):
            return
        context.counters.add(Metric.GW_CLOSED, str(int(code)))
        self._over(_ENDING, sign_out=sign_out)
        if isinstance(state, Upgrading):
            self._transport.abort()
            return
        self._send([Bye(code=code, reason=reason, retry_after_ms=retry_after_ms)], state.codec)
        self._transport.write(ws.close_frame(code, reason))
        self._linger()

    def abort(self) -> None:
        self._transport.abort()

    # ── from the device ───────────────────────────────────────────────────────────────────────────────────────────────

    def _upgrade(self, state: Upgrading, data: bytes) -> bytes:
        """What follows the request, once it is answered."""
        context = self._context
        state.head += data
        found = state.head.find(handshake.HEAD_END)
        end = len(state.head) if found < 0 else found + len(handshake.HEAD_END)
        if end > context.settings.max_head_bytes:
            self._answer(handshake.plain(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "the request is too large\n"))
            return b""
        if found < 0:
            return b""
        rest = state.head[end:]
        answer = handshake.answer(state.head[:end], ready=context.ready)
        self._answer(answer)
        return rest if answer.codec is not None else b""

    def _answer(self, answer: handshake.Answer) -> None:
        context = self._context
        self._transport.write(answer.data)
        if answer.codec is None:
            self._over(_DEAF)
            self._hang_up()
            return
        unsigned = self._state = Unsigned(answer.codec, context.terms, context.clock.monotonic())
        context.wheel.arm(self, unsigned.due)

    def _take(self, events: Sequence[ws.Event]) -> None:
        ping: ws.Ping | None = None
        for place, event in enumerate(events):
            if type(event) is ws.Message:
                self._message(event)
                if self._held is not None:  # that was the hello
                    self._held += events[place + 1 :]
                    break
            elif type(event) is ws.Ping:
                ping = event
            elif type(event) is ws.Pong:
                self._heard()
            elif type(event) is ws.Closing:
                self._closed_by_peer(event.code)
            elif type(event) is ws.Violation:
                self._violated(event)
        if ping is not None and self.is_open:  # of those that came together the last is answered (RFC 6455 §5.5.3)
            self._transport.write(ws.pong_frame(ping.payload))
            self._heard()

    def _message(self, message: ws.Message) -> None:
        state, context = self._state, self._context
        if type(state) is Signed:
            now = context.clock.monotonic()
            before = state.due
            wall = context.clock.wall_ms()
            self._act(state.receive(message.payload, text=message.text, now=now, wall=wall), wall)
            if state.due < before and self._state is state:
                context.wheel.arm(self, state.due)
        elif type(state) is Unsigned:
            said = state.receive(message.payload, text=message.text)
            if isinstance(said, Close):
                self.close(said.code, said.reason)
            else:
                self._join(said)

    def _join(self, joining: Joining) -> None:
        context = self._context
        if context.stopping:
            self.close(CloseCode.SHUTTING_DOWN, "shutting down")
            return
        self._state = joining
        self._held = []
        context.wheel.cancel(self)  # each call that joining makes has a deadline of its own
        admission = context.admission
        refusal = admission.refusal(self._address() if admission.asks_address else "")
        if refusal is None and not context.sign_ins.submit(self, joining.hello):
            refusal = admission.full("too many sign-ins")
        if refusal is not None:
            self.close(CloseCode.OVERLOADED, refusal.reason, retry_after_ms=refusal.retry_after_ms)

    def _address(self) -> str:
        peer = self._transport.get_extra_info("peername")
        return str(peer[0]) if peer else ""

    def _heard(self) -> None:
        if type(self._state) is Signed:
            self._state.heard(self._context.clock.monotonic())

    def _closed_by_peer(self, code: int) -> None:
        if self.is_open:
            self._over(_DEAF)
            self._transport.write(ws.close_frame(code))
            self._linger()
        self._state = _DEAF
        self._transport.close()

    def _violated(self, violation: ws.Violation) -> None:
        """RFC 6455 §7.1.7: fail the connection."""
        if not self.is_open:
            self._state = _DEAF
            self._transport.close()
            return
        self._context.counters.add(Metric.GW_CLOSED, str(violation.code))
        self._over(_DEAF)
        self._transport.write(ws.close_frame(violation.code, violation.reason))
        self._hang_up()

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
            elif isinstance(event, AcksDropped):
                context.counters.add(Metric.GW_ACKS_FOREIGN, n=event.count)
            elif isinstance(event, Close):
                self.close(event.code, event.reason)
                return
        if self.more and self.half_free:
            context.drains.go_on(self)

    def _acked(self, event: Acked, wall: int) -> None:
        context = self._context
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
        self, message_id: int, timeout_ms: int, stored: bool, prepared: Prepared, now: float, wall: int
    ) -> Taking:
        state = self._state
        if type(state) is not Signed:
            return Taking.ABSENT
        try:
            frame = prepared.frame(state.codec)
        except FrameError:
            # No device can ever read it: its delivery ends here rather than going round for ever.
            self._report(message_id, ReceiptKind.UNDECODABLE, wall, None)
            return Taking.ACCEPTED
        before = state.due
        offered = state.offer(message_id, timeout_ms=timeout_ms, stored=stored, now=now, wall=wall)
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

    def _send(self, frames: Sequence[ServerFrame], codec: Codec) -> None:
        self._transport.write(ws.data_frame(codec.encode(frames), text=not codec.binary))

    def _hang_up(self) -> None:
        """Our last word is said, and nothing more is understood. What the peer still sends is thrown away until it hangs up too: a
        socket closed with unread bytes is reset, and the peer would not see why."""
        self._transport.write_eof()
        self._linger()

    def _linger(self) -> None:
        self._context.wheel.arm(self, self._context.clock.monotonic() + self._context.settings.close_linger_s)

    def _over(self, state: Ending | Deaf, *, sign_out: bool = True) -> None:
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
        if isinstance(before, Signed):
            wall = context.clock.wall_ms()
            for message_id, push in before.end():
                self._report(message_id, ReceiptKind.LOST, wall, push)
            if sign_out:
                context.sign_outs.add(self.route)

    def _resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()
