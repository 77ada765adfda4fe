import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_core.breaker import Breaker, BreakerTerms

TERMS = BreakerTerms()


def steady(rate: int, seconds: float, start: float) -> list[float]:
    return [start + number / rate for number in range(int(rate * seconds))]


def drive(breaker: Breaker, times: list[float], works: Callable[[float], bool]) -> tuple[int, int]:
    """Calls that take no time; how many were made, and how many of those succeeded."""
    made = well = 0
    for now in times:
        if not breaker.allows(now):
            continue
        made += 1
        if works(now):
            well += 1
            breaker.succeeded(now)
        else:
            breaker.failed(now, now)
    return made, well


def seeded(terms: BreakerTerms = TERMS) -> Breaker:
    return Breaker(terms, random.Random(7).random)


def test_a_neighbour_that_works_is_never_refused() -> None:
    assert drive(seeded(), steady(100, 60, 0), lambda _: True) == (6_000, 6_000)


@pytest.mark.parametrize("rate", [10, 100, 1_000])
def test_a_dead_neighbour_is_asked_about_once_a_second(rate: int) -> None:
    breaker = seeded()
    drive(breaker, steady(rate, 20, 0), lambda _: True)
    drive(breaker, steady(rate, 10, 20), lambda _: False)
    made, _ = drive(breaker, steady(rate, 20, 30), lambda _: False)
    assert 18 <= made <= 40 + rate * 20 * 0.05


def test_a_few_failures_on_a_quiet_line_mean_nothing() -> None:
    breaker = seeded()
    for now in range(TERMS.protection):
        assert breaker.allows(float(now))
        breaker.failed(float(now), float(now))
    assert breaker.allows(5.0)


@pytest.mark.parametrize("part", [0.1, 0.3])
def test_failures_within_the_margin_of_k_cost_nothing(part: float) -> None:
    dice = random.Random(3)
    made, _ = drive(seeded(), steady(100, 60, 0), lambda _: dice.random() >= part)
    assert made >= 0.98 * 6_000


def test_a_neighbour_that_can_do_a_third_is_offered_k_times_that() -> None:
    """Offered 300 a second where 100 are served."""
    served: dict[int, int] = {}

    def works(now: float) -> bool:
        served[int(now)] = served.get(int(now), 0) + 1
        return served[int(now)] <= 100

    breaker = seeded()
    drive(breaker, steady(300, 30, 0), works)
    made, well = drive(breaker, steady(300, 30, 30), works)
    assert well >= 0.95 * 100 * 30
    assert made <= 2 * 100 * 30


@pytest.mark.parametrize("rate", [5, 50, 500, 5_000])
@pytest.mark.parametrize("outage_s", [3, 20, 300])
def test_everything_passes_again_soon_after_the_neighbour_is_back(rate: int, outage_s: int) -> None:
    breaker = seeded()
    drive(breaker, steady(rate, 10, 0), lambda _: True)
    back = 10.0 + outage_s
    drive(breaker, steady(rate, outage_s, 10), lambda _: False)
    drive(breaker, steady(rate, 2.5, back), lambda _: True)
    made, _ = drive(breaker, steady(rate, 10, back + 2.5), lambda _: True)
    assert made == rate * 10


def test_a_failure_soon_after_recovery_does_not_bring_the_bad_times_back() -> None:
    breaker = seeded()
    drive(breaker, steady(100, 20, 0), lambda _: False)
    drive(breaker, steady(100, 3, 20), lambda _: True)
    breaker.failed(23.0, 23.0)
    made, _ = drive(breaker, steady(100, 5, 23), lambda _: True)
    assert made == 500


def test_late_news_of_a_call_from_before_recovery_does_not_count_against_it() -> None:
    """A stopped store that goes on: calls that it was asked before still run out of time when new ones go well again."""
    breaker = seeded()
    drive(breaker, steady(100, 20, 0), lambda _: False)
    for number, now in enumerate(steady(100, 3, 20)):
        if breaker.allows(now):
            breaker.succeeded(now)
        if number % 20 == 0:
            breaker.failed(now, now - 5.0)
    made, _ = drive(breaker, steady(100, 2, 23), lambda _: True)
    assert made == 200


def test_after_a_reset_everything_passes() -> None:
    breaker = seeded()
    drive(breaker, steady(100, 20, 0), lambda _: False)
    breaker.reset()
    made, _ = drive(breaker, steady(1_000, 0.005, 20), lambda _: True)
    assert made == 5


def test_without_calls_the_window_passes_and_all_is_forgotten() -> None:
    breaker = seeded()
    drive(breaker, steady(100, 20, 0), lambda _: False)
    later = 20 + TERMS.window_s + 1
    assert [breaker.allows(later + number / 1_000) for number in range(5)] == [True] * 5


def test_the_longer_nothing_succeeds_the_fewer_are_let_through() -> None:
    """K falls: what a success allows is less the longer ago it was."""

    def failures_until_refused(failing_s: float) -> int:
        breaker = Breaker(BreakerTerms(window_s=10, probe_s=1_000, protection=0), lambda: 0.0)
        for number in range(100):
            breaker.succeeded(number / 1_000)
        breaker.failed(0.2, 0.2)
        breaker._passed_at = 0.2  # no probe
        failures = 1
        while breaker.allows(0.2 + failing_s):
            failures += 1
            breaker.failed(0.2 + failing_s, 0.2)
        return failures

    assert [failures_until_refused(after_s) for after_s in (0.0, 5.0, 9.0)] == [51, 31, 15]


@given(
    steps=st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["ask", "good", "bad"]), st.floats(0, 10)), max_size=200),
    dice=st.randoms(use_true_random=False),
)
def test_whatever_happens_the_sums_are_those_of_the_window_and_a_probe_passes(
    steps: list[tuple[float, str, float]], dice: random.Random
) -> None:
    breaker = Breaker(TERMS, dice.random)
    now, last_pass = 0.0, float("-inf")
    for pause, what, took in steps:
        now += pause
        if what == "ask":
            passed = breaker.allows(now)
            assert passed or now - last_pass < TERMS.probe_s
            if passed:
                last_pass = now
        elif what == "good":
            breaker.succeeded(now)
        else:
            breaker.failed(now, now - took)
        assert sum(breaker._requested) == breaker._requests >= breaker._accepts == sum(breaker._accepted) >= 0
        assert min(breaker._accepted) >= 0


@given(st.lists(st.floats(0, 2), max_size=300))
def test_without_failures_nothing_is_ever_refused(pauses: list[float]) -> None:
    breaker, now = Breaker(TERMS), 0.0
    for pause in pauses:
        now += pause
        assert breaker.allows(now)
        breaker.succeeded(now)
