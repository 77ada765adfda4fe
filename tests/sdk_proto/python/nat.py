"""A phone behind a network that forgets silent connections, hour after hour of a clock moved by hand: the client's session, the server's, and
between them a translation of addresses with a memory of so many seconds."""

from sdk_proto.python.acks import Acks
from sdk_proto.python.adaptive import AdaptiveHeartbeat
from sdk_proto.python.session import Failed, Session
from sdk_proto.wire import frames as f
from sdk_proto.wire.heartbeat import HeartbeatPolicy
from sdk_proto.wire.server import Close, Joining, Send, Signed, Terms, Unsigned
from sdk_proto.wire.subprotocols import PROTO

RTT_S = 0.1
BACK_AFTER_S = 2.0  # from a loss to the next connection
WALL = 1_790_000_000_000


class Phone:
    """`forgets_s`: what passes after so long a silence is not delivered, and nothing after it is."""

    def __init__(
        self,
        forgets_s: float,
        *,
        terms: Terms | None = None,
        network: str = "wifi",
        state: str = "background",
        adaptive: AdaptiveHeartbeat | None = None,
        now: float = 0.0,
    ) -> None:
        self.forgets_s = forgets_s
        self.terms = terms or Terms(heartbeat=HeartbeatPolicy())
        self.network = network
        self.state = state
        self.adaptive = adaptive or AdaptiveHeartbeat()
        self.now = now
        self.pings: list[float] = []
        self.lost: list[float] = []
        self.closed: list[int] = []
        self.connect()

    @property
    def interval_s(self) -> int:
        return self.adaptive.interval_s(self.network, foreground=self.state == "foreground")

    def connect(self) -> None:
        hello = f.Hello(
            app="a",
            device="d",
            token="t",
            versions=(1,),
            heartbeat=self.interval_s,
            state=self.state,
            network=self.network,
        )
        self.session = Session(codec=PROTO, hello=hello, seen=(), acks=Acks(), now=self.now, adaptive=self.adaptive)
        self.session.opened(self.now)
        (message,) = self.session.take_outgoing()
        joining = Unsigned(PROTO, self.terms, self.now).receive(message, text=False)
        assert isinstance(joining, Joining)
        self.server: Signed
        self.server, welcome, _ = joining.joined(session="s", ends_at=1e12, pending=0, now=self.now, wall=WALL)
        self.session.receive(PROTO.encode([welcome]), self.now)
        self.touched = self.now
        self._send()

    def live(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while True:
            deadline = self.session.deadline
            assert deadline is not None
            at = min(max(self.now, deadline), self.server.due)
            if at > end:
                break
            self.now = at
            if self.server.due <= at:
                for event in self.server.tick(at):
                    if isinstance(event, Close):
                        self.closed.append(event.code)
            if deadline <= at:
                failed = any(isinstance(event, Failed) for event in self.session.tick(at))
                if failed:
                    self._again()
                else:
                    self._send()
        self.now = end

    def push(self) -> None:
        """The server sends something and the phone acks it at once."""
        if self._forgotten():
            return
        self.session.receive(PROTO.encode([f.Error(code="traffic")]), self.now)

    def set_state(self, state: str) -> None:
        self.state = state
        self.session.set_state(state, self.now)
        self._send()

    def _forgotten(self) -> bool:
        if self.now - self.touched > self.forgets_s:
            self.touched = -1e12  # for ever: the connection has no way any more
            return True
        self.touched = self.now
        return False

    def _send(self) -> None:
        for message in self.session.take_outgoing():
            frames = PROTO.decode_client(message)
            self.pings += [self.now for frame in frames if isinstance(frame, f.Ping)]
            if self._forgotten():
                continue
            answers = []
            for event in self.server.receive(message, text=False, now=self.now + RTT_S / 2, wall=WALL):
                if isinstance(event, Close):
                    self.closed.append(event.code)
                elif isinstance(event, Send):
                    answers.append(event.frame)
            if answers:
                self.touched = self.now + RTT_S
                self.session.receive(PROTO.encode(answers), self.now + RTT_S)

    def _again(self) -> None:
        self.lost.append(self.now)
        self.now += BACK_AFTER_S
        self.connect()
