import random
from collections import Counter, deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_core.models import PRIORITIES, Priority
from push_core.shedder import FLOOR, PATIENCE, Ended, Shedder, ShedderTerms

TERMS = ShedderTerms(lag_s=0.25, slow_s=0.0, serve_s=0.5, cool_off_s=1.0, least=16)
SLOW = ShedderTerms(lag_s=0.25, slow_s=1.0, serve_s=0.4, cool_off_s=1.0, least=16)
ON_TIME, LATE, VERY_LATE = 0.05, 0.25, 5.0


def serving(shedder: Shedder, *, each_s: float, per_s: int, seconds: float, start: float = 100.0) -> float:
    """Requests one after another; when it is over."""
    now = start
    for _ in range(int(per_s * seconds)):
        now += 1 / per_s
        shedder.ended(shedder.began(now - each_s), now, Ended.SERVED)
    return now


def fill(shedder: Shedder, flying: int, now: float = 100.0) -> list[int]:
    """So many under way, and for a while; their tickets."""
    tickets = [shedder.began(now) for _ in range(flying)]
    for _ in range(100):
        shedder.ended(shedder.began(now), now, Ended.REFUSED)
    assert shedder.flying == flying
    return tickets


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


def test_an_overload_is_over_a_while_after_no_more_is_under_way_than_should_be() -> None:
    """That the loop is on time again may be because of what is turned away."""
    shedder = Shedder(TERMS)
    now = serving(shedder, each_s=1.0, per_s=100, seconds=3)
    tickets = fill(shedder, 200, now)
    assert shedder.pressure(LATE, now) > 1
    assert shedder.pressure(ON_TIME, now + 0.9) > 1
    assert shedder.pressure(ON_TIME, now + 1.8) > 1
    for ticket in tickets[:120]:
        shedder.ended(ticket, now + 1.9, Ended.REFUSED)
    assert 0 < shedder.pressure(ON_TIME, now + 1.9) < 1
    assert shedder.pressure(ON_TIME, now + 2.7) > 0
    assert shedder.pressure(ON_TIME, now + 2.9) == 0


def test_with_a_limit_of_0_it_is_off() -> None:
    shedder = Shedder(ShedderTerms(lag_s=0.0, slow_s=0.0))
    now = serving(shedder, each_s=1.0, per_s=100, seconds=3)
    fill(shedder, 10_000)
    assert shedder.pressure(VERY_LATE, now) == 0.0


def test_what_was_refused_or_failed_says_nothing_of_what_can_be_served() -> None:
    one, other = Shedder(TERMS), Shedder(TERMS)
    now = serving(one, each_s=1.0, per_s=100, seconds=3)
    serving(other, each_s=1.0, per_s=100, seconds=3)
    for _ in range(1_000):
        other.ended(other.began(now), now, Ended.REFUSED)
        other.ended(other.began(now), now, Ended.FAILED)
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
    shedder, now, tickets = Shedder(SLOW), 0.0, list[int]()
    for pause, what, figure in steps:
        now += pause
        if what == "began":
            tickets.append(shedder.began(now))
        elif what != "asked" and tickets:
            ticket = tickets.pop(int(figure * (len(tickets) - 1)))
            shedder.ended(ticket, now, Ended.SERVED if what == "served" else Ended.FAILED)
        elif what == "asked":
            pressure = shedder.pressure(figure, now)
            assert pressure >= 0
            assert pressure == 0 or len(tickets) >= SLOW.least
        assert shedder.flying == len(tickets)


def test_where_nothing_ends_any_more_nothing_more_is_let_in_than_fits() -> None:
    """500 a second, and the store stops: what piles up behind it would only run out of time."""
    shedder = Shedder(SLOW)
    now = serving(shedder, each_s=0.01, per_s=500, seconds=3)
    inside = []
    for number in range(500 * 5):
        at = now + number / 500
        if shedder.pressure(ON_TIME, at) <= PATIENCE[Priority.NORMAL]:
            inside.append(shedder.began(at))
        # Others that need no store are served all the time: they don't hide it.
        shedder.ended(shedder.began(at), at, Ended.SERVED)
    assert len(inside) == pytest.approx(500 * SLOW.slow_s, rel=0.1)
    back = now + 5
    for ticket in inside:
        shedder.ended(ticket, back, Ended.SERVED)
    assert shedder.pressure(ON_TIME, back) == 0.0


def test_a_burst_after_a_quiet_time_is_no_pile() -> None:
    shedder = Shedder(SLOW)
    now = serving(shedder, each_s=3.0, per_s=100, seconds=3) + 60.0  # slow it was, a minute ago
    for _ in range(500):
        shedder.began(now)
    assert shedder.pressure(ON_TIME, now + 0.5) == 0.0


def test_a_store_that_is_slow_but_keeps_up_costs_nobody_but_low_messages() -> None:
    shedder, now, waiting = Shedder(SLOW), 100.0, deque[tuple[float, int]]()
    highest = 0.0
    for _ in range(20 * 200):
        now += 1 / 200
        waiting.append((now, shedder.began(now)))
        while now - waiting[0][0] >= 2.0:
            shedder.ended(waiting.popleft()[1], now, Ended.SERVED)
        if now > 110:
            highest = max(highest, shedder.pressure(ON_TIME, now))
    assert 0 < highest <= PATIENCE[Priority.NORMAL] * 1.05


# ── overload ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass
class Server:
    """One loop that serves `capacity` requests a second in order and is late by what waits; each caller gives up after `gives_up_s`. Turning
    somebody away costs a tenth of serving."""

    capacity: int
    shedder: Shedder
    gives_up_s: float = 1.0
    waiting: deque[tuple[float, int, Priority]] = field(default_factory=deque)
    store_s: float = 0.0
    """0: it is the CPU that is short. Else a store that commits each so many seconds, and the loop keeps up."""
    good: Counter[Priority] = field(default_factory=Counter)
    late: int = 0
    refused: Counter[Priority] = field(default_factory=Counter)
    longest_s: float = 0.0
    smoothed_s: float = 0.0
    credit: float = 0.0

    def offer(self, now: float, priority: Priority, *, shedding: bool) -> None:
        if shedding and self.shedder.pressure(self.smoothed_s, now) > PATIENCE[priority]:
            self.refused[priority] += 1
            self.credit -= 0.0 if self.store_s else 0.1
            return
        self.waiting.append((now, self.shedder.began(now), priority))

    def run(self, now: float, seconds: float) -> None:
        self.credit = min(self.credit + self.capacity * seconds, self.capacity * max(seconds, self.store_s))
        if self.store_s and self.credit < self.capacity * self.store_s * 0.99:
            return
        while self.waiting and self.credit >= 1:
            self.credit -= 1
            came, ticket, priority = self.waiting.popleft()
            took = now - came
            self.longest_s = max(self.longest_s, took)
            self.shedder.ended(ticket, now, Ended.SERVED)
            if took <= self.gives_up_s:
                self.good[priority] += 1
            else:
                self.late += 1
        lag = 0.0 if self.store_s else len(self.waiting) / self.capacity
        self.smoothed_s += (lag - self.smoothed_s) * 0.1


def overload(times: float, *, shedding: bool, store_s: float = 0.0) -> Server:
    """Half a minute of that many times what can be served; the last three quarters are counted."""
    server = Server(1_000, Shedder(SLOW), store_s=store_s, gives_up_s=5.0 if store_s else 1.0)
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


def test_without_shedding_a_slow_store_lets_every_request_run_out_of_time() -> None:
    server = overload(3.0, shedding=False, store_s=0.3)
    assert server.good.total() == 0
    assert server.late > 0


@pytest.mark.parametrize("times", [1.5, 3.0])
@pytest.mark.parametrize("store_s", [0.05, 0.3])
def test_a_slow_store_gets_what_it_can_do_and_nobody_waits_for_long(times: float, store_s: float) -> None:
    """The loop keeps up: that requests take long is the sign."""
    server = overload(times, shedding=True, store_s=store_s)
    assert server.good.total() >= 0.95 * 1_000 * 22.5
    assert server.late == 0
    assert server.longest_s < 3.0


def test_just_below_what_can_be_served_nobody_is_turned_away() -> None:
    server = overload(0.95, shedding=True)
    assert not server.refused
