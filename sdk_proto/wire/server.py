"""The server's side of a session as pure objects: messages in, events out, `now` as an argument.

One class a state, so that a push before sign-in can't be written:

    Unsigned ──hello──▶ Joining ──joined()──▶ Signed

Each method that gives events gives everything that must be done, in order; after a `Close` the object is not used again but
for `Signed.end`. Knows no sockets, no stores, no tokens. `now` is monotonic seconds, `wall` Unix milliseconds.
"""

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from sdk_proto.wire.close import CloseCode
from sdk_proto.wire.codec import Codec, FrameError
from sdk_proto.wire.frames import (
    DEFAULT_WINDOW,
    MAX_FRAME,
    VERSION,
    Ack,
    Call,
    ClientFrame,
    Error,
    Hello,
    Migrate,
    Ping,
    Pong,
    Reconnect,
    ServerFrame,
    StateChange,
    Subscribe,
    Unknown,
    Unsubscribe,
    Welcome,
)
from sdk_proto.wire.heartbeat import HeartbeatPolicy

MINUTE_S = 60.0
TOPICS = "topics"
UNSENT_LOOK_S = 5.0  # how often a session with unsent bytes is looked at


@dataclass(slots=True)
class Terms:
    """What a server grants its clients; one object shared by all sessions. `heartbeat` may be replaced while they live: a session takes
    the new one over with its next ping."""

    heartbeat: HeartbeatPolicy = field(default_factory=HeartbeatPolicy)
    reconnect: Reconnect = field(default_factory=Reconnect)
    window_default: int = DEFAULT_WINDOW
    window_max: int = 256
    max_frame: int = MAX_FRAME
    hello_timeout_s: float = 5.0
    written_after_s: float = 1.0
    window_full_s: float = 60.0
    unsent_timeout_s: float = 30.0
    leave_s: float = 5.0  # from the request to connect anew until the close
    foreign_windows: int = 4  # acks for what is not un-acked here: so many windows a minute
    features: tuple[str, ...] = ()  # what is on of what is optional: "topics"

    def window(self, wish: int | None) -> int:
        return self.window_default if wish is None else min(max(wish, 1), self.window_max)


# ── events ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Unacked(msgspec.Struct, gc=False):
    """A push on its way. `stored`: an inbox row or later work may exist for it."""

    written: float  # monotonic
    written_at: int  # Unix ms
    timeout_ms: int
    stored: bool
    told: int = 0  # 0 nothing, 1 that it was written, 2 that its ack was missed

    @property
    def deadline(self) -> int:
        """Unix ms at which its ack is due."""
        return self.written_at + self.timeout_ms


class Send(msgspec.Struct, frozen=True, gc=False):
    """A frame for the client."""

    frame: ServerFrame


class Acked(msgspec.Struct, frozen=True, gc=False):
    """An id that the client acked; `push` is None if it isn't un-acked on this connection (an earlier one's, or nobody's)."""

    id: int
    status: str
    push: Unacked | None


class LiveAcked(msgspec.Struct, frozen=True, gc=False):
    """An id that the client acked and that is a live push, un-acked on this connection until now."""

    id: int
    status: str


class Wished(msgspec.Struct, frozen=True, gc=False):
    """The client subscribes to topics, or unsubscribes (`on` false)."""

    topics: tuple[str, ...]
    on: bool


class RecallShown(msgspec.Struct, frozen=True, gc=False):
    """The client has been heard after a recall was written: it has it."""

    id: int


class Written(msgspec.Struct, frozen=True, gc=False):
    """A push is un-acked for a moment; once each."""

    id: int
    push: Unacked


class Missed(msgspec.Struct, frozen=True, gc=False):
    """A push was not acked by its deadline; once each. It stays un-acked."""

    id: int
    push: Unacked


class AcksDropped(msgspec.Struct, frozen=True, gc=False):
    """So many ids of an ack were passed over: too many that are not un-acked here."""

    count: int


class Close(msgspec.Struct, frozen=True, gc=False):
    """End the connection: `bye`, then a WebSocket close with the same code."""

    code: int
    reason: str


Event = Send | Acked | LiveAcked | Wished | RecallShown | Written | Missed | AcksDropped | Close


class Offered(enum.Enum):
    """What becomes of a push offered to a session."""

    SEND = "send"  # un-acked from now on: write it
    REPEAT = "repeat"  # un-acked here already: don't write it again
    FULL = "full"  # the window is used up


# ── states ──────────────────────────────────────────────────────────────────────────────────────────────────────────


class Unsigned:
    """Waits for the hello. `due` is when `tick` has something to say."""

    __slots__ = ("codec", "due", "terms")

    def __init__(self, codec: Codec, terms: Terms, now: float) -> None:
        self.codec = codec
        self.terms = terms
        self.due = now + terms.hello_timeout_s

    def receive(self, message: bytes, *, text: bool) -> "Joining | Close":
        """The client's first message."""
        frames = _decode(self.codec, message, text)
        if isinstance(frames, Close):
            return frames
        hello, *early = frames
        if not isinstance(hello, Hello):
            return Close(CloseCode.PROTOCOL_ERROR, "the first frame must be hello")
        if any(isinstance(frame, Hello) for frame in early):
            return _HELLO_TWICE
        if VERSION not in hello.versions:
            return Close(CloseCode.NO_COMMON_VERSION, f"this server speaks version {VERSION}")
        return Joining(self.codec, self.terms, hello, tuple(early))

    def tick(self, now: float) -> Close | None:
        return Close(CloseCode.HELLO_TOO_LATE, "no hello in time") if now >= self.due else None


class Joining:
    """Said hello; its token and device are being looked at. What the client sends meanwhile waits outside, but for the frames
    that came in one message with the hello (`early`)."""

    __slots__ = ("codec", "early", "hello", "terms")

    def __init__(self, codec: Codec, terms: Terms, hello: Hello, early: tuple[ClientFrame, ...]) -> None:
        self.codec = codec
        self.terms = terms
        self.hello = hello
        self.early = early

    def joined(
        self, *, session: str, ends_at: float, pending: int, now: float, wall: int, ages_at: float = math.inf
    ) -> "tuple[Signed, Welcome, list[Event]]":
        """The signed-in session, its welcome, and what its early frames ask for. `ends_at` is when its token has run out, `ages_at` when
        the connection is old enough to be made anew."""
        interval_s = self.terms.heartbeat.interval(self.hello.heartbeat)
        signed = Signed(
            self.codec,
            self.terms,
            window=self.terms.window(self.hello.window),
            interval_s=interval_s,
            ends_at=ends_at,
            ages_at=ages_at,
            now=now,
        )
        welcome = Welcome(
            version=VERSION,
            session=session,
            time=wall,
            heartbeat=self.terms.heartbeat.frame(interval_s),
            window=signed.window,
            max_frame=self.terms.max_frame,
            reconnect=self.terms.reconnect,
            pending=pending,
            features=tuple([each for each in self.terms.features if each in self.hello.features]),
        )
        return signed, welcome, signed.take(self.early, now, wall) if self.early else []


class _Ends(enum.Enum):
    """What ends a session at its `_ends_at`."""

    TOKEN = enum.auto()
    AGED = enum.auto()  # it is asked to connect anew
    ASKED = enum.auto()  # it was, and has not


_NONE: dict[int, Unacked] = {}  # shared by all sessions with nothing un-acked, and never written to
_NO_LIVE: dict[int, float] = {}  # the same for live pushes


class Signed:
    """A signed-in session: its window, its un-acked pushes, its heartbeat.

    `due` is when `tick` is needed next. It only comes nearer between two ticks: whoever keeps the time arms at the nearest
    value seen and asks again then, so that an ack moves no timer.
    """

    __slots__ = (
        "_ends_as",
        "_ends_at",
        "_foreign",
        "_full_since",
        "_heard",
        "_heartbeat",
        "_interval_s",
        "_live",
        "_pings",
        "_recalls",
        "_unsent_since",
        "codec",
        "due",
        "terms",
        "unacked",
        "window",
    )

    def __init__(
        self,
        codec: Codec,
        terms: Terms,
        *,
        window: int,
        interval_s: int,
        ends_at: float,
        now: float,
        ages_at: float = math.inf,
    ) -> None:
        self.codec = codec
        self.terms = terms
        self.window = window
        self.unacked = _NONE
        self._heartbeat = terms.heartbeat  # as its client was told
        self._interval_s = interval_s
        # The nearer of both, and which it is: a second time would cost each session 32 bytes.
        self._ends_at, self._ends_as = (ages_at, _Ends.AGED) if ages_at < ends_at else (ends_at, _Ends.TOKEN)
        self._heard = now
        self._pings = 0.0
        self._foreign = 0.0
        self._full_since = 0.0
        self._unsent_since = 0.0
        self._recalls: tuple[int, ...] = ()
        self._live = _NO_LIVE
        self.due = min(self._ends_at, terms.heartbeat.silent_at(now, interval_s))

    @property
    def free(self) -> int:
        """Places left in the window."""
        return self.window - len(self.unacked)

    @property
    def half_free(self) -> bool:
        """Whether it is time to send what waits (PROTOCOL.md §5, "Window"): half of the places are free, those left out that are held by pushes
        whose ack was missed. Recalls that were not seen yet have a window of the same size."""
        held = len(self.unacked)
        if held >= self.window or len(self._recalls) * 2 > self.window:
            return False
        if held * 2 <= self.window:
            return True
        # A client that will never ack some of its pushes gets the rest all the same.
        missed = sum(push.told == 2 for push in self.unacked.values())
        return (held - missed) * 2 <= self.window - missed

    # ── from the server ───────────────────────────────────────────────────────────────────────────────────────────────

    def offer(self, push_id: int, timeout_ms: int, stored: bool, now: float, wall: int) -> Offered:
        """Take a push into the window, if there is room. `timeout_ms` is the time for its ack."""
        unacked = self.unacked
        if push_id in unacked:
            if stored:  # somebody has stored it since it was written
                unacked[push_id].stored = True
            return Offered.REPEAT
        held = len(unacked)
        if held >= self.window and not self._let_late_go(now):
            return Offered.FULL
        if unacked is _NONE:
            unacked = self.unacked = {}
        unacked[push_id] = Unacked(now, wall, timeout_ms, stored)
        terms = self.terms
        timeout_s = timeout_ms / 1_000
        look = now + (min(terms.written_after_s, timeout_s))
        if held + 1 == self.window:
            self._full_since = now
            look = min(look, now + terms.window_full_s)
        if look < self.due:
            self.due = look
        return Offered.SEND

    def offer_live(self, push_id: int, *, until: float, now: float) -> Offered:
        """As `offer`, for a push that nobody stored and nobody sends again. It holds its place until it is acked; from `until` on (monotonic)
        it gives it to whatever needs one, and nobody is told."""
        live = self._live
        if push_id in live or push_id in self.unacked:
            return Offered.REPEAT
        if len(self.unacked) >= self.window and not self._let_late_go(now):
            return Offered.FULL
        live = self._live
        if live is _NO_LIVE:
            live = self._live = {}
        live[push_id] = until
        self.window -= 1  # rather than be counted with each push and ack of the others
        return Offered.SEND

    def offer_recall(self, push_id: int) -> Offered:
        """As `offer`. A recall isn't acked: the client's next frame shows that it came."""
        if push_id in self._recalls:
            return Offered.REPEAT
        if len(self._recalls) >= self.window:
            return Offered.FULL
        self._recalls = (*self._recalls, push_id)
        return Offered.SEND

    def end(self) -> list[tuple[int, Unacked]]:
        """The connection is over: the pushes that are lost with it."""
        lost = list(self.unacked.items())
        self.unacked = _NONE
        self._live = _NO_LIVE
        self._recalls = ()
        return lost

    # ── from the client ───────────────────────────────────────────────────────────────────────────────────────────────

    def heard(self, now: float) -> None:
        """The client showed below the level of frames that it lives (a WebSocket ping or pong)."""
        self._heard = now

    def received(self, ids: Sequence[int], now: float) -> list[Unacked] | None:
        """What nearly every message of a client is: an ack, `received`, for pushes that are all un-acked here. They are settled; None: it isn't
        that, nothing has changed, and `receive` does it. Ids that come twice are not that."""
        unacked = self.unacked
        if self._recalls:
            return None
        if len(ids) == 1:
            push = unacked.pop(ids[0], None)
            if push is None:
                return None
            pushes = [push]
        else:
            if len(set(ids)) != len(ids) or not unacked.keys() >= set(ids):
                return None
            pushes = [unacked.pop(push_id) for push_id in ids]
        self._heard = now
        self._full_since = 0.0
        if not unacked:
            self.unacked = _NONE
        return pushes

    def receive(self, message: bytes, *, text: bool, now: float, wall: int) -> list[Event]:
        frames = _decode(self.codec, message, text)
        if isinstance(frames, Close):
            return [frames]
        return self.take(frames, now, wall)

    def take(self, frames: Sequence[ClientFrame], now: float, wall: int) -> list[Event]:
        """As `receive`, for frames that are decoded."""
        self._heard = now
        events: list[Event] = []
        if self._recalls:
            events.extend(map(RecallShown, self._recalls))
            self._recalls = ()
        for frame in frames:
            if type(frame) is Ack:
                self._acked(frame, now, events)
            elif type(frame) is Ping:
                policy = self.terms.heartbeat
                level = policy.ping(self._pings, now)
                if level is None:
                    events.append(Close(CloseCode.PINGING_TOO_FAST, "pinging too fast"))
                    break
                self._pings = level
                wish = self._interval_s if frame.next is None else frame.next
                interval_s = policy.interval(wish)
                if interval_s != self._interval_s or policy is not self._heartbeat:
                    self._heartbeat = policy
                    self._interval_s = interval_s
                    self.due = min(self.due, policy.silent_at(now, interval_s))
                events.append(Send(Pong(wall, None if interval_s == wish else interval_s)))
            elif type(frame) is Hello:
                events.append(_HELLO_TWICE)
                break
            elif isinstance(frame, Subscribe | Unsubscribe) and TOPICS in self.terms.features:
                events.append(Wished(frame.topics, type(frame) is Subscribe))
            elif type(frame) is not StateChange:
                events.append(_refusal(frame))
        return events

    def _acked(self, ack: Ack, now: float, events: list[Event]) -> None:
        unacked = self.unacked
        dropped = 0
        for push_id in ack.ids:
            push = unacked.pop(push_id, None) if unacked else None
            if push is not None:
                self._full_since = 0.0
            elif self._live and push_id in self._live:
                self._let_live_go((push_id,))
                self._full_since = 0.0
                events.append(LiveAcked(push_id, ack.status))
                continue
            elif not self._room_for_foreign(now):
                dropped += 1
                continue
            events.append(Acked(push_id, ack.status, push))
        if not unacked:
            self.unacked = _NONE
        if dropped:
            events.append(AcksDropped(dropped))

    def _room_for_foreign(self, now: float) -> bool:
        """A bucket like that of pings (`HeartbeatPolicy.ping`)."""
        step_s = MINUTE_S / (self.terms.foreign_windows * (self.window + len(self._live)))
        after = max(self._foreign, now) + step_s
        if after - now > MINUTE_S + step_s / 2:
            return False
        self._foreign = after
        return True

    def _let_late_go(self, now: float) -> bool:
        """Whether live pushes whose time is over gave their places back."""
        late = [push_id for push_id, until in self._live.items() if now >= until]
        self._let_live_go(late)
        return bool(late)

    def _let_live_go(self, ids: Sequence[int]) -> None:
        for push_id in ids:
            del self._live[push_id]
        self.window += len(ids)
        if not self._live:
            self._live = _NO_LIVE

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: float, unsent: int = 0) -> list[Event]:
        """What time brings. `unsent` is how many bytes the connection couldn't send yet."""
        terms = self.terms
        silent_at = self._heartbeat.silent_at(self._heard, self._interval_s)
        if now >= silent_at:
            return [Close(CloseCode.HEARTBEAT_MISSED, "nothing heard for too long")]
        events: list[Event] = []
        if now >= self._ends_at:
            if self._ends_as is _Ends.TOKEN:
                return [Close(CloseCode.TOKEN_EXPIRED, "the token has expired")]
            if self._ends_as is _Ends.ASKED:
                return [Close(CloseCode.MAXIMUM_AGE, "this connection is old")]
            self._ends_at, self._ends_as = now + terms.leave_s, _Ends.ASKED
            events.append(Send(Migrate()))
        due = min(silent_at, self._ends_at)
        if self._full_since:
            if now >= self._full_since + terms.window_full_s:
                return [Close(CloseCode.TOO_SLOW, "the window is full and nothing is acked")]
            due = min(due, self._full_since + terms.window_full_s)
        if not unsent:
            self._unsent_since = 0.0
        elif not self._unsent_since:
            self._unsent_since = now
        elif now >= self._unsent_since + terms.unsent_timeout_s:
            return [Close(CloseCode.TOO_SLOW, "what was sent is not read")]
        if unsent:
            due = min(due, now + UNSENT_LOOK_S, self._unsent_since + terms.unsent_timeout_s)
        self._let_late_go(now)
        for push_id, push in self.unacked.items():
            if push.told == 2:
                continue
            if push.told == 0 and now >= push.written + terms.written_after_s:
                push.told = 1
                events.append(Written(push_id, push))
            missed_at = push.written + push.timeout_ms / 1_000
            if now >= missed_at:
                push.told = 2
                push.stored = True  # whoever is told of the miss stores it
                events.append(Missed(push_id, push))
            else:
                due = min(due, missed_at if push.told else min(missed_at, push.written + terms.written_after_s))
        self.due = due
        return events


_HELLO_TWICE = Close(CloseCode.PROTOCOL_ERROR, "hello came twice")


def _decode(codec: Codec, message: bytes, text: bool) -> list[ClientFrame] | Close:
    if text is codec.binary:
        kind = "binary" if codec.binary else "text"
        return Close(CloseCode.PROTOCOL_ERROR, f"{codec.subprotocol} uses {kind} messages")
    try:
        return codec.decode_client(message)
    except FrameError as error:
        return Close(CloseCode.PROTOCOL_ERROR, str(error))


def _refusal(frame: ClientFrame) -> Send:
    match frame:
        case Call() | Subscribe() | Unsubscribe():
            return Send(Error(code="not_available", message=f"{type(frame).__name__.lower()} is not offered here"))
        case Unknown(name=name):
            return Send(Error(code="unknown_frame", message=f"no frame is called {name}"))
        case _:
            raise AssertionError(f"no rule for {type(frame).__name__}")
