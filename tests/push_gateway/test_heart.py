"""The product's heart: 100,000 sessions in any order of ping, drop, half-open, close, push and tick, on the pure objects that decide.

Beside them the simplest bookkeeping there can be: when each session was heard last and what it had promised. Whoever is closed was silent
for so long as the rule says, and nobody outlives that time by more than a step of the wheel: no session, no entry of the wheel, none of the
registry, no object.
"""

import gc
import heapq
import random
from typing import Any, cast

import pytest

from push_core.models import DeviceKey
from push_gateway.registry import Registry
from push_gateway.wheel import Timed, Wheel
from sdk_proto.wire import frames as f
from sdk_proto.wire.close import CloseCode
from sdk_proto.wire.heartbeat import HeartbeatPolicy
from sdk_proto.wire.server import Close, Event, Signed, Terms
from sdk_proto.wire.subprotocols import PROTO

STEP_S = 0.25
START, WALL = 1_000.0, 1_790_000_000_000
SESSIONS = 100_000
ROUNDS = 80
A_ROUND = 4_000  # things that happen in one, to somebody
LONGEST_ROUND_S = 40.0


class Beat(Timed):
    """A signed-in session as the shell holds it (`push_gateway.connection`), without a transport."""

    __slots__ = ("heard", "interval_s", "key", "lives", "promise", "session")

    def __init__(self, key: DeviceKey, session: Signed, heard: float, interval_s: int, grace: float) -> None:
        self.armed = 0
        self.key = key
        self.session = session
        self.heard = heard
        self.interval_s = interval_s
        self.promise = grace * interval_s  # seconds of silence that it is granted
        self.lives = True

    def on_due(self, now: float) -> None:
        raise AssertionError("the world looks for itself")


class World:
    """Sessions on one wheel and in one registry. `silent` is a heap of times, each of which some session may have outlived or not."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = START
        self.terms = Terms(heartbeat=HeartbeatPolicy())
        self.wheel = Wheel(STEP_S, START)
        self.registry = Registry()
        self.beats: list[Beat] = []
        self.silent: list[tuple[float, int]] = []
        self.living = 0
        self.closed: dict[int, int] = {}
        self.pushed = 0

    # ── what may happen to a session ──────────────────────────────────────────────────────────────────────────────────

    def connect(self) -> None:
        wish = self.random.choice((None, 60, 90, 240, 600, 5_000))
        policy = self.terms.heartbeat
        interval_s = policy.interval(wish)
        session = Signed(PROTO, self.terms, window=4, interval_s=interval_s, ends_at=self.now + 86_400, now=self.now)
        beat = Beat(("app", f"d-{len(self.beats)}"), session, self.now, interval_s, policy.grace)
        self.beats.append(beat)
        self.registry.connections.add(cast(Any, beat))
        self.registry.join(cast(Any, beat))
        self.registry.sign(cast(Any, beat))
        self.living += 1
        self._arm(beat)
        self._expect(beat)

    def ping(self, beat: Beat, following: int | None) -> None:
        policy = self.terms.heartbeat
        events = self._say(beat, f.Ping(following))
        if beat.lives:
            told = [event.frame.next for event in events if hasattr(event, "frame") and isinstance(event.frame, f.Pong)]
            beat.interval_s = told[0] or following or beat.interval_s
            beat.promise = policy.grace * beat.interval_s
            self._expect(beat)

    def ack(self, beat: Beat) -> None:
        self._say(beat, f.Ack(tuple(beat.session.unacked) or (7,)))
        if beat.lives:
            self._expect(beat)

    def push(self, beat: Beat) -> None:
        """Nobody acks it: that changes nothing for the heartbeat, whatever else is due for it."""
        self.pushed += 1
        before = beat.session.due
        beat.session.offer(self.pushed, timeout_ms=10_000, stored=False, now=self.now, wall=WALL)
        if beat.session.due < before:
            self._arm(beat)

    def drop(self, beat: Beat) -> None:
        """The transport is gone, by the peer's will or by the network's."""
        self._end(beat)

    # ── time ──────────────────────────────────────────────────────────────────────────────────────────────────────────

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        due = cast(list[Beat], self.wheel.tick(self.now))
        for beat in due:
            assert beat.lives, "what is closed is not on the wheel"
            for event in beat.session.tick(self.now):
                if isinstance(event, Close):
                    self._close(beat, event)
            if beat.lives:
                self._arm(beat)
        while self.silent and self.silent[0][0] <= self.now - STEP_S:
            _, number = heapq.heappop(self.silent)
            beat = self.beats[number]
            if beat.lives and beat.heard + beat.promise <= self.now - STEP_S:
                raise AssertionError(f"{beat.key} outlives its time by {self.now - beat.heard - beat.promise} s")

    def check(self) -> None:
        """The books agree: an entry for each that lives, and nothing else."""
        assert len(self.wheel) == self.living
        assert len(self.registry.signed) == self.living
        assert len(self.registry.connections) == self.living
        assert not self.registry.joining

    # ── the shell's part ──────────────────────────────────────────────────────────────────────────────────────────────

    def _say(self, beat: Beat, frame: f.ClientFrame) -> list[Event]:
        before = beat.session.due
        events = beat.session.take([frame], self.now, WALL)
        beat.heard = self.now
        for event in events:
            if isinstance(event, Close):
                self._close(beat, event)
                return events
        if beat.session.due < before:
            self._arm(beat)
        return events

    def _close(self, beat: Beat, close: Close) -> None:
        self.closed[close.code] = self.closed.get(close.code, 0) + 1
        if close.code == CloseCode.HEARTBEAT_MISSED:
            assert self.now >= beat.heard + beat.promise, f"{beat.key} is closed too early"
        self._end(beat)

    def _end(self, beat: Beat) -> None:
        beat.lives = False
        beat.session.end()
        self.wheel.cancel(beat)
        self.registry.remove(cast(Any, beat))
        self.registry.connections.discard(cast(Any, beat))
        self.living -= 1

    def _arm(self, beat: Beat) -> None:
        self.wheel.arm(beat, beat.session.due)

    def _expect(self, beat: Beat) -> None:
        heapq.heappush(self.silent, (beat.heard + beat.promise, int(beat.key[1][2:])))


def live(world: World, sessions: int, rounds: int, a_round: int) -> None:
    """Any order of everything, until the last rounds in which nobody is heard any more."""
    pick = world.random
    for turn in range(rounds):
        for _ in range(sessions // (rounds // 2) if turn < rounds // 2 else 0):
            world.connect()
        if turn % 30 == 29:  # an operator changes the bounds while all this goes on
            longest = pick.choice((120, 300, 600))
            world.terms.heartbeat = HeartbeatPolicy(
                min_s=30, max_s=longest, default_s=60, grace=pick.choice((1.0, 1.5, 3.0))
            )
        for _ in range(a_round):
            beat = world.beats[int(pick.random() * len(world.beats))]
            if not beat.lives:
                continue
            match int(pick.random() * 16):
                case 0 | 1 | 2 | 3:
                    world.ping(beat, None)
                case 4 | 5 | 6 | 7:
                    world.ping(beat, pick.choice((1, 60, 200, 600, 10_000)))
                case 8:
                    for _ in range(7):  # a flood: 4008
                        if beat.lives:
                            world.ping(beat, None)
                case 9 | 10:
                    world.ack(beat)
                case 11 | 12:
                    for _ in range(pick.choice((1, 4))):  # four fill its window
                        world.push(beat)
                case 13:
                    world.drop(beat)
                case _:
                    pass  # half-open: nothing comes any more
        # Mostly a step, at times the process slept.
        world.pass_time(STEP_S if pick.random() < 0.2 else pick.random() * LONGEST_ROUND_S)


def objects(*kinds: type) -> int:
    gc.collect()
    return sum(type(each) in kinds for each in gc.get_objects())


@pytest.mark.parametrize("seed", [1])
def test_none_of_100_000_sessions_outlives_its_time_and_none_is_closed_before_it(seed: int) -> None:
    before = objects(Signed, Beat)
    world = World(seed)
    live(world, SESSIONS, ROUNDS, A_ROUND)
    assert len(world.beats) >= SESSIONS - ROUNDS
    world.check()
    assert world.living > SESSIONS / 50  # so many are left to be found by the wheel alone
    while world.living:  # silence
        world.pass_time(STEP_S if world.random.random() < 0.5 else world.random.random() * 20)
        assert world.now < START + ROUNDS * LONGEST_ROUND_S + 3 * 600 + STEP_S
    world.check()
    assert len(world.wheel) == 0
    assert set(world.closed) == {CloseCode.HEARTBEAT_MISSED, CloseCode.PINGING_TOO_FAST, CloseCode.TOO_SLOW}
    assert min(world.closed.values()) > 50
    world.beats.clear()
    assert objects(Signed, Beat) == before


@pytest.mark.parametrize("seed", range(2, 12))
def test_the_same_in_other_orders(seed: int) -> None:
    world = World(seed)
    live(world, 1_000, 60, 300)
    world.check()
    while world.living:
        world.pass_time(world.random.random() * 5)
    world.check()
