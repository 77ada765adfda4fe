import random
from collections import Counter, deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_core.models import PRIORITIES, Priority
from push_core.shedder import FLOOR, PATIENCE, Shedder, ShedderTerms

TERMS = ShedderTerms(lag_s=0.25, cool_off_s=1.0, window_s=5.0, least=16)
ON_TIME, LATE, VERY_LATE = 0.05, 0.25, 5.0


def serving(shedder: Shedder, *, each_s: float, per_s: int, seconds: float, start: float = 100.0) -> float:
    """Requests one after another; when it is over."""
    now = start
    for _ in range(int(per_s * seconds)):
        now += 1 / per_s
        shedder.began()
        shedder.ended(now, each_s)
    return now


def fill(shedder: Shedder, flying: int) -> None:
    """So many under way, and for a while."""
    for _ in range(flying + 60):
        shedder.began()
    for _ in range(60):
        shedder.began()
        shedder.ended(0.0, None)
    for _ in range(60):
        shedder.ended(0.0, None)
    assert shedder.flying == flying


def test_a_loop_that_keeps_up_never_turns_anybody_away() -> None:
    shedder = Shedder(TERMS)
    now = serving(shedder, each_s=0.01, per_s=100, seconds=2)
    fill(shedder, 10_000)
    assert shedder.pressure(ON_TIME, now) == 0.0


def test_a_late_loop_is_no_reason_while_little_is_under_way() -> None:
    shedder = Shedder(TERMS)
    now = serving(shedder, each_s=0.01, per_s=100, seconds=2)
    fill(shedder, TERMS.least - 1)
    assert shedder.pressure(VERY_LATE, now) == 0.0


def test_pressure_is_what_is_under_way_by_what_can_be_served() -> None:
    """100 a second that take a second each: 100 are under way without a queue."""
    shedder = Shedder(TERMS)
    now = serving(shedder, each_s=1.0, per_s=100, seconds=3)
    fill(shedder, 200)
    assert shedder.pressure(LATE, now) == pytest.approx(2.0, rel=0.2)
    assert shedder.pressure(LATE * 2, now) == pytest.approx(4.0, rel=0.2)
    assert shedder.pressure(VERY_LATE, now) <= 2.0 / FLOOR * 1.2


def test_what_is_quickly_served_may_pile_up_for_half_a_second() -> None:
    """1,000 a second that take 10 ms each: a moment without CPU is no reason to refuse what is worked off in the next."""
    shedder = Shedder(TERMS)
    now = serving(shedder, each_s=0.01, per_s=1_000, seconds=3)
    fill(shedder, 500)
    assert shedder.pressure(LATE, now) == pytest.approx(1.0, rel=0.2)


def test_it_cools_off_before_everything_is_let_in_again() -> None:
    shedder = Shedder(TERMS)
    now = serving(shedder, each_s=1.0, per_s=100, seconds=3)
    fill(shedder, 200)
    assert shedder.pressure(LATE, now) > 1
    assert shedder.pressure(ON_TIME, now + 0.9) > 1
    assert shedder.pressure(ON_TIME, now + 1.1) == 0


def test_with_a_limit_of_0_it_is_off() -> None:
    shedder = Shedder(ShedderTerms(lag_s=0.0))
    now = serving(shedder, each_s=1.0, per_s=100, seconds=3)
    fill(shedder, 10_000)
    assert shedder.pressure(VERY_LATE, now) == 0.0


def test_what_was_refused_or_failed_says_nothing_of_what_can_be_served() -> None:
    one, other = Shedder(TERMS), Shedder(TERMS)
    now = serving(one, each_s=1.0, per_s=100, seconds=3)
    serving(other, each_s=1.0, per_s=100, seconds=3)
    for _ in range(1_000):
        other.began()
        other.ended(now, None)
    for shedder in (one, other):
        fill(shedder, 200)
    assert one.pressure(LATE, now) == other.pressure(LATE, now)


def test_patience_grows_with_priority() -> None:
    assert [PATIENCE[priority] for priority in PRIORITIES] == sorted(PATIENCE.values(), reverse=True)


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from(["began", "served", "failed", "asked"]), st.floats(0, 1)),
        max_size=200,
    )
)
def test_whatever_happens_it_never_refuses_below_its_least_and_counts_right(
    steps: list[tuple[float, str, float]],
) -> None:
    shedder, now, flying = Shedder(TERMS), 0.0, 0
    for pause, what, figure in steps:
        now += pause
        if what == "began":
            shedder.began()
            flying += 1
        elif what != "asked" and flying:
            shedder.ended(now, figure if what == "served" else None)
            flying -= 1
        elif what == "asked":
            pressure = shedder.pressure(figure, now)
            assert pressure >= 0
            assert pressure == 0 or flying >= TERMS.least
        assert shedder.flying == flying


# ── overload ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Server:
    """One loop that serves `capacity` requests a second in order and is late by what waits; each caller gives up after `gives_up_s`. Turning
    somebody away costs a tenth of serving."""

    capacity: int
    shedder: Shedder
    gives_up_s: float = 1.0
    waiting: deque[tuple[float, Priority]] = field(default_factory=deque)
    good: Counter[Priority] = field(default_factory=Counter)
    late: int = 0
    refused: Counter[Priority] = field(default_factory=Counter)
    longest_s: float = 0.0
    smoothed_s: float = 0.0
    credit: float = 0.0

    def offer(self, now: float, priority: Priority, *, shedding: bool) -> None:
        if shedding and self.shedder.pressure(self.smoothed_s, now) > PATIENCE[priority]:
            self.refused[priority] += 1
            self.credit -= 0.1
            return
        self.shedder.began()
        self.waiting.append((now, priority))

    def run(self, now: float, seconds: float) -> None:
        self.credit = min(self.credit + self.capacity * seconds, self.capacity * seconds)
        while self.waiting and self.credit >= 1:
            self.credit -= 1
            came, priority = self.waiting.popleft()
            took = now - came
            self.longest_s = max(self.longest_s, took)
            self.shedder.ended(now, took)
            if took <= self.gives_up_s:
                self.good[priority] += 1
            else:
                self.late += 1
        lag = len(self.waiting) / self.capacity
        self.smoothed_s += (lag - self.smoothed_s) * 0.1


def overload(times: float, *, shedding: bool) -> Server:
    """Half a minute of that many times what can be served; the middle half is counted."""
    server = Server(1_000, Shedder(TERMS))
    dice, step_s, now = random.Random(5), 0.01, 1_000.0
    priorities = [Priority.URGENT, Priority.HIGH, Priority.NORMAL, Priority.NORMAL, Priority.LOW, Priority.LOW]
    for number in range(3_000):
        now += step_s
        if number == 750:
            server.good, server.late, server.longest_s = Counter(), 0, 0.0
            server.refused = Counter()
        for _ in range(int(1_000 * times * step_s)):
            server.offer(now, dice.choice(priorities), shedding=shedding)
        server.run(now, step_s)
    return server


def test_without_shedding_an_overloaded_server_does_nothing_in_time() -> None:
    """That the model below means something."""
    server = overload(3.0, shedding=False)
    assert server.good.total() == 0
    assert server.late > 0


@pytest.mark.parametrize(("times", "goodput"), [(1.1, 0.95), (1.5, 0.9), (3.0, 0.75), (6.0, 0.4)])
def test_whatever_is_offered_what_can_be_served_is_and_in_time(times: float, goodput: float) -> None:
    """Refusing costs its share: at six times half of the server's time."""
    server = overload(times, shedding=True)
    assert server.good.total() >= goodput * 1_000 * 22.5
    assert server.late == 0
    assert server.longest_s < 1.0


@pytest.mark.parametrize("times", [1.1, 1.5, 3.0])
def test_urgent_messages_are_turned_away_last(times: float) -> None:
    server = overload(times, shedding=True)
    parts = [
        server.good[priority] / (server.good[priority] + server.refused[priority])
        for priority in (Priority.URGENT, Priority.HIGH, Priority.NORMAL, Priority.LOW)
    ]
    assert parts == sorted(parts, reverse=True)
    assert parts[0] > 0.99
    assert parts[-1] < 0.7


def test_just_below_what_can_be_served_nobody_is_turned_away() -> None:
    server = overload(0.95, shedding=True)
    assert not server.refused
