"""One connection's conversation with the gateway, without the connection: bytes in, events out, `now` (monotonic seconds) an
argument. Knows no socket, no timer, no storage.

    session = Session(codec=…, hello=…, seen=…, acks=…, now=now)
    session.opened(now)                          # the WebSocket is open: hello goes out
    for event in session.receive(message, now): …
    for event in session.tick(now): …            # at session.deadline, or later
    for message in session.take_outgoing(): socket.send(message)

Events are frames: Welcome, Push (not seen before), Recall, Undecodable, Migrate, Config, Reply, Error, Bye; and Failed: the
connection is of no use any more, close it and reconnect.
"""

import enum
from collections.abc import Container, Sequence
from dataclasses import dataclass

import msgspec

from sdk_proto.python.acks import Acks
from sdk_proto.python.adaptive import AdaptiveHeartbeat
from sdk_proto.python.heartbeat import Heartbeat
from sdk_proto.python.topics import Topics
from sdk_proto.wire.codec import Codec, FrameError
from sdk_proto.wire.frames import (
    VERSION,
    Bye,
    ClientFrame,
    Config,
    Error,
    Hello,
    Migrate,
    Ping,
    Pong,
    Push,
    Recall,
    Reply,
    ServerFrame,
    StateChange,
    Subscribe,
    Undecodable,
    Unknown,
    Unsubscribe,
    Welcome,
)

MESSAGE_BYTES = 32_768  # several frames share a WebSocket message up to here: half of the smallest `max_frame` in use


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that a connection has for each step."""

    connect_s: float = 15.0  # from the start of the dial until the WebSocket is open
    welcome_s: float = 15.0  # from hello until welcome
    pong_s: float = 10.0  # from a ping until anything comes


@dataclass(frozen=True, slots=True)
class Failed:
    reason: str


Event = Welcome | Push | Recall | Undecodable | Migrate | Config | Reply | Error | Bye | Failed


class _State(enum.Enum):
    DIALLING = enum.auto()
    GREETING = enum.auto()
    LIVE = enum.auto()
    OVER = enum.auto()


class Session:
    __slots__ = (
        "_acks",
        "_adaptive",
        "_codec",
        "_deadline",
        "_greeting",
        "_heartbeat",
        "_hello",
        "_limits",
        "_mark",
        "_outgoing",
        "_seen",
        "_state",
        "_topics",
    )

    def __init__(
        self,
        *,
        codec: Codec,
        hello: Hello,
        seen: Container[int],
        acks: Acks,
        now: float,
        limits: Limits = Limits(),
        adaptive: AdaptiveHeartbeat | None = None,
        topics: Topics | None = None,
    ) -> None:
        """`seen`: the ids that were shown; `acks` outlive the session and may bring what an earlier one couldn't send, and so does
        `adaptive`, which learns how long the interval between pings may be; None: it is what hello wishes, or the server's. Of all
        `topics` the server is told after its welcome."""
        self._codec = codec
        self._hello = hello
        self._greeting = hello  # as it was sent: what the application changed since then is told after the welcome
        self._seen = seen
        self._acks = acks
        self._adaptive = adaptive
        self._limits = limits
        self._topics = topics
        self._state = _State.DIALLING
        self._deadline = now + limits.connect_s
        self._heartbeat: Heartbeat | None = None
        self._mark: int | None = None
        self._outgoing: list[ClientFrame] = []

    @property
    def is_live(self) -> bool:
        return self._state is _State.LIVE

    def _is_over(self) -> bool:
        return self._state is _State.OVER

    @property
    def deadline(self) -> float | None:
        """When `tick` has something to do; None if never."""
        if self._heartbeat is None or self._state is not _State.LIVE:
            return None if self._state is _State.OVER else self._deadline
        due = self._acks.due_at
        return self._heartbeat.deadline if due is None else min(due, self._heartbeat.deadline)

    def opened(self, now: float) -> None:
        if self._state is _State.DIALLING:
            self._state = _State.GREETING
            self._deadline = now + self._limits.welcome_s
            self._greeting = self._hello
            self._outgoing.append(self._hello)

    def receive(self, message: bytes, now: float) -> list[Event]:
        """What one WebSocket message means."""
        if self._is_over():
            return []
        try:
            frames = self._codec.decode_server(message)
        except FrameError as error:
            return [self._fail(f"not a frame: {error}")]
        if self._heartbeat is not None:
            quiet_s = self._heartbeat.received(now)
            if quiet_s is not None and self._adaptive is not None:
                self._adaptive.answered(self._hello.network, quiet_s)
        events = []
        for frame in frames:
            event = self._take(frame, now)
            if event is not None:
                events.append(event)
            if self._is_over():
                break
        return events

    def tick(self, now: float) -> list[Event]:
        """Do what is due: an ack batch, a ping, or giving up."""
        if self._is_over():
            return []
        if self._heartbeat is None:
            if now < self._deadline:
                return []
            return [self._fail("no connection in time" if self._state is _State.DIALLING else "no welcome in time")]
        if self._heartbeat.is_dead(now):
            self.lost(now)
            return [self._fail("no answer to a ping")]
        if self._acks.due_at is not None and now >= self._acks.due_at:
            self.flush()
            self._heartbeat.sent(now)
        if self._heartbeat.is_ping_due(now):
            self.ping(now)
        return []

    def lost(self, now: float) -> None:
        """The connection is gone without a word. If a ping was waiting for its answer, the silence before it may have been the reason."""
        if self._state is _State.LIVE and self._heartbeat is not None and self._adaptive is not None:
            quiet_s = self._heartbeat.unanswered_quiet_s
            if quiet_s is not None:
                self._adaptive.lost(self._hello.network, quiet_s, now)
        self._state = _State.OVER

    def flush(self) -> None:
        """Send waiting acks now."""
        if self._state is _State.LIVE and self._acks.due_at is not None:
            self._outgoing += self._acks.take()

    def ping(self, now: float) -> None:
        """Ask for a sign of life now; the answer confirms the reports that were sent before."""
        if self._state is not _State.LIVE or self._heartbeat is None:
            return
        self.flush()
        if self._mark is None:  # an earlier ping may still be unanswered: the next pong is for that one
            self._mark = self._acks.mark
        self._adapt()
        self._outgoing.append(Ping(self._heartbeat.next_s))
        self._heartbeat.ping_sent(now)

    def set_heartbeat(self, seconds: int, now: float) -> None:
        """Wish another interval between pings, and learn none from now on; the server hears of it at once, or once it has said welcome."""
        self._adaptive = None
        self._hello = msgspec.structs.replace(self._hello, heartbeat=seconds)
        if self._state is _State.LIVE and self._heartbeat is not None and self._heartbeat.wish(seconds):
            self.ping(now)

    def set_state(self, app: str, now: float) -> None:
        """Tell the server, now or once it has said welcome, that the application went to the foreground or background."""
        self._hello = msgspec.structs.replace(self._hello, state=app)
        if self._state is _State.LIVE and self._heartbeat is not None:
            self._outgoing.append(StateChange(app))
            self._heartbeat.sent(now)
            self._adapt()

    def tell(self, frames: Sequence[Subscribe | Unsubscribe]) -> None:
        """Tell the server of what changed in `topics`; before its welcome there is no need to."""
        if self._state is _State.LIVE:
            self._outgoing += frames

    def take_outgoing(self) -> list[bytes]:
        """The WebSocket messages to send, in order."""
        frames = self._outgoing
        if not frames:
            return []
        self._outgoing = []
        if len(frames) == 1:
            return [self._codec.encode(frames)]
        return _packed(self._codec, frames)

    def _take(self, frame: ServerFrame, now: float) -> Event | None:
        if isinstance(frame, Bye):
            self._state = _State.OVER
            return frame
        if self._state is not _State.LIVE:
            return self._welcome(frame, now) if isinstance(frame, Welcome) else None
        if isinstance(frame, Push):
            if frame.id not in self._seen:
                return frame
            # Its ack was lost, or it took another road as well: say so again, show nothing.
            self._acks.add(frame.id, "received", now)
            return None
        if isinstance(frame, Pong):
            if self._mark is not None:
                self._acks.confirm(self._mark)
                self._mark = None
            if frame.next is not None and self._heartbeat is not None:
                self._heartbeat.told(frame.next)
                if self._adaptive is not None:
                    self._adaptive.bounded(self._heartbeat.bounds)
            return None
        if isinstance(frame, Undecodable):
            self._acks.add(frame.id, "undecodable", now)
            return frame
        # A second welcome changes nothing, and clients ignore frames that they don't know.
        return None if isinstance(frame, Welcome | Unknown) else frame

    def _welcome(self, frame: Welcome, now: float) -> Event:
        if frame.version != VERSION:
            return self._fail(f"the server chose version {frame.version}, which was not offered")
        self._state = _State.LIVE
        self._heartbeat = Heartbeat(frame.heartbeat, self._limits.pong_s, now)
        if self._adaptive is not None:
            self._adaptive.welcomed(self._hello.network, frame.heartbeat, now)
            self._adapt()
        self._acks.reopen(frame.window, now)
        self.flush()
        if self._topics is not None:
            self._outgoing += self._topics.all()
        if self._hello.state is not None and self._hello.state != self._greeting.state:
            self.set_state(self._hello.state, now)
        if self._hello.heartbeat is not None and self._hello.heartbeat != self._greeting.heartbeat:
            self.set_heartbeat(self._hello.heartbeat, now)
        return frame

    def _adapt(self) -> None:
        """Take over what is known by now of the interval that this network bears."""
        if self._adaptive is not None and self._heartbeat is not None:
            foreground = self._hello.state == "foreground"
            self._heartbeat.wish(self._adaptive.interval_s(self._hello.network, foreground=foreground))

    def _fail(self, reason: str) -> Failed:
        self._state = _State.OVER
        return Failed(reason)


def _packed(codec: Codec, frames: Sequence[ClientFrame]) -> list[bytes]:
    """As few messages as MESSAGE_BYTES allows: after a long time without a connection more acks wait than one message may hold."""
    messages: list[list[bytes]] = [[]]
    size = 0
    for encoded in (codec.encode([frame]) for frame in frames):
        if messages[-1] and size + len(encoded) > MESSAGE_BYTES:
            messages.append([])
            size = 0
        messages[-1].append(encoded)
        size += len(encoded) + 1
    return [codec.join(parts) for parts in messages]
