"""Any order of events: each push that a session took ends as acked or lost, exactly once, and its window holds."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from push_gateway.wheel import Timed, Wheel
from sdk_proto.wire import frames as f
from sdk_proto.wire.server import Acked, Close, Event, LiveAcked, Missed, Offered, Signed, Terms, Written
from sdk_proto.wire.subprotocols import JSON

WALL = 1_790_000_000_000
IDS = st.integers(1, 12)
LIVE_IDS = st.integers(101, 106)
STEP = 0.25


class Entry(Timed):
    __slots__ = ()

    def __init__(self) -> None:
        self.armed = 0

    def on_due(self, now: float) -> None:
        raise AssertionError("the machine looks for itself")


class Session(RuleBasedStateMachine):
    """A session on a wheel, beside the simplest bookkeeping there can be."""

    now = 1_000.0
    open = False

    @precondition(lambda self: not self.open)
    @rule(window=st.integers(1, 4), interval_s=st.integers(60, 600), lives_s=st.floats(1, 5_000))
    def connect(self, window: int, interval_s: int, lives_s: float) -> None:
        self.wheel = Wheel(STEP, self.now)
        self.entry = Entry()
        self.session = Signed(
            JSON, Terms(), window=window, interval_s=interval_s, ends_at=self.now + lives_s, now=self.now
        )
        self.ends_at = self.now + lives_s
        self.silent_s = 1.5 * interval_s
        self.heard = self.now
        self.taken: dict[int, tuple[float, float]] = {}  # id → written, deadline; un-acked
        self.ended: list[int] = []
        self.live: dict[int, float] = {}  # id → until
        self.places = window
        self.count = 0
        self.written: set[int] = set()
        self.missed: set[int] = set()
        self.open = True
        self.armed_for = self.session.due
        self._arm()

    @property
    def wall(self) -> int:
        return WALL + round(self.now * 1_000)

    @precondition(lambda self: self.open)
    @rule(push_id=IDS, timeout_ms=st.sampled_from([100, 5_000, 30_000, 600_000]), stored=st.booleans())
    def offer(self, push_id: int, timeout_ms: int, stored: bool) -> None:
        offered = self.session.offer(push_id, timeout_ms=timeout_ms, stored=stored, now=self.now, wall=self.wall)
        if push_id in self.taken:
            assert offered is Offered.REPEAT
        elif self._places_taken() == self.places:
            assert offered is Offered.FULL
        else:
            assert offered is Offered.SEND
            self.taken[push_id] = (self.now, self.now + timeout_ms / 1_000)
            self.count += 1
        self._arm()

    @precondition(lambda self: self.open)
    @rule(push_id=LIVE_IDS, for_s=st.sampled_from([0.1, 5.0, 600.0]))
    def offer_live(self, push_id: int, for_s: float) -> None:
        offered = self.session.offer_live(push_id, until=self.now + for_s, now=self.now)
        if self.live.get(push_id, 0.0) > self.now:
            assert offered is Offered.REPEAT
        elif self._places_taken() == self.places:
            assert offered is not Offered.SEND
        else:
            assert offered is Offered.SEND or push_id in self.live  # held still, its time being over
        if offered is Offered.SEND:
            self.live[push_id] = self.now + for_s

    def _places_taken(self) -> int:
        """When places are short, those of live pushes whose time is over don't count."""
        return len(self.taken) + sum(until > self.now for until in self.live.values())

    @precondition(lambda self: self.open)
    @rule(ids=st.lists(IDS | LIVE_IDS, min_size=1, max_size=4), status=st.sampled_from(f.ACK_STATUSES))
    def ack(self, ids: list[int], status: str) -> None:
        self._said(self._say(f.Ack(tuple(ids), status)))
        assert not set(ids) & set(self.taken)
        for push_id in set(ids) & set(self.live):  # its place was given to another one
            assert self.live.pop(push_id) <= self.now

    @precondition(lambda self: self.open)
    @rule(interval_s=st.none() | st.integers(1, 1_000))
    def ping(self, interval_s: int | None) -> None:
        events = self._say(f.Ping(interval_s))
        if interval_s is not None and not any(isinstance(event, Close) for event in events):
            self.silent_s = 1.5 * min(max(interval_s, 60), 600)
        self._said(events)

    @precondition(lambda self: self.open)
    @rule(seconds=st.floats(0, 40), unsent=st.sampled_from([0, 0, 0, 1]))
    def pass_time(self, seconds: float, unsent: int) -> None:
        """The shell's part: nobody asks the session before the wheel says so."""
        until = self.now + seconds
        while self.open and self.now < until:
            self.now = min(until, self.now + STEP)
            for _ in self.wheel.tick(self.now):
                self._said(self.session.tick(self.now, unsent))
                if self.open:
                    self.wheel.arm(self.entry, self.session.due)

    @precondition(lambda self: self.open)
    @rule()
    def disconnect(self) -> None:
        self._end()

    @precondition(lambda self: hasattr(self, "session"))
    @invariant()
    def the_window_holds_and_the_books_agree(self) -> None:
        assert len(self.session.unacked) <= self.session.window <= self.places
        assert set(self.session.unacked) == set(self.taken)
        assert self.places - len(self.taken) - len(self.live) <= self.session.free <= self.places - len(self.taken)
        assert len(self.ended) + len(self.taken) == self.count

    @precondition(lambda self: hasattr(self, "session"))
    @invariant()
    def nothing_is_overdue(self) -> None:
        if not self.open:
            assert len(self.wheel) == 0
            return
        assert len(self.wheel) == 1
        late = self.now - 2 * STEP
        assert self.heard + self.silent_s > late
        assert self.ends_at > late
        for push_id, (written, deadline) in self.taken.items():
            assert push_id in self.missed or deadline > late
            assert push_id in self.written | self.missed or written + 1 > late  # a miss says that it was written

    def _say(self, frame: f.ClientFrame) -> list[Event]:
        self.heard = self.now
        return self.session.receive(JSON.encode([frame]), text=True, now=self.now, wall=self.wall)

    def _said(self, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, Acked) and event.push is not None:
                self._ended(event.id)
            elif isinstance(event, LiveAcked):
                del self.live[event.id]
            elif isinstance(event, Written):
                assert event.id not in self.written
                assert self.now >= self.taken[event.id][0] + 1
                self.written.add(event.id)
            elif isinstance(event, Missed):
                assert event.id not in self.missed
                assert self.now >= self.taken[event.id][1]
                self.missed.add(event.id)
            elif isinstance(event, Close):
                assert event is events[-1]
                self._end()
        self._arm()

    def _ended(self, push_id: int) -> None:
        del self.taken[push_id]
        self.ended.append(push_id)
        self.written.discard(push_id)
        self.missed.discard(push_id)

    def _end(self) -> None:
        self.open = False
        self.wheel.cancel(self.entry)
        for push_id, push in self.session.end():
            assert push.deadline >= push.written_at
            self._ended(push_id)

    def _arm(self) -> None:
        if self.open and (not self.entry.armed or self.session.due < self.armed_for):
            self.wheel.arm(self.entry, self.session.due)
        self.armed_for = self.session.due


TestSession = Session.TestCase
