"""A storm is taken at the rate that is set, and who is sent away comes back in a queue."""

import random

from hypothesis import given
from hypothesis import strategies as st

from push_gateway.guard.pace import Pace


def test_a_burst_comes_in_and_the_rest_gets_moments_a_step_apart() -> None:
    pace = Pace(10.0, 3, 60.0)
    assert [pace.take(100.0, 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]
    waits = [pace.take(100.0, 0.0) for _ in range(4)]
    assert [round(wait, 6) for wait in waits] == [0.1, 0.2, 0.3, 0.4]


def test_without_a_rate_everybody_comes_in() -> None:
    pace = Pace(0.0, 0, 60.0)
    assert not any(pace.take(0.0, 0.5) for _ in range(10_000))


def test_nobody_is_sent_away_for_longer_than_the_most() -> None:
    pace = Pace(1.0, 1, 10.0)
    waits = [pace.take(5.0, dice / 1_000) for dice in range(1_000)]
    assert max(waits) <= 10.0
    assert sum(wait >= 5.0 for wait in waits) > 900
    assert len(set(waits[20:])) > 900  # they don't come back together


def test_a_storm_is_over_in_little_more_than_the_time_its_rate_needs() -> None:
    """10,000 devices that come at once and come back when told: all are in after 20 s at 500 a second, and no second saw more."""
    pace = Pace(500.0, 0, 60.0)
    coming = [(0.0, device) for device in range(10_000)]
    admitted: list[float] = []
    asked = 0
    while coming:
        coming.sort()
        now = coming[0][0]
        wave, coming = [each for each in coming if each[0] == now], [each for each in coming if each[0] != now]
        for _, device in wave:
            asked += 1
            wait = pace.take(now, random.random())
            if wait:
                coming.append((now + wait, device))
            else:
                admitted.append(now)
    assert len(admitted) == 10_000
    assert max(admitted) <= 10_000 / 500.0 + 1.0
    assert asked <= 2.1 * 10_000  # each is refused about once
    seconds = [sum(second <= at < second + 1 for at in admitted) for second in range(22)]
    assert max(seconds[1:]) <= 501


@given(st.floats(0.1, 1_000.0), st.integers(0, 100), st.lists(st.floats(0.0, 2.0), min_size=1, max_size=100))
def test_never_more_than_burst_and_rate_allow(rate: float, burst: int, gaps: list[float]) -> None:
    pace, now, let_in = Pace(rate, burst, 30.0), 1_000.0, 0
    for gap in gaps:
        now += gap
        wait = pace.take(now, 0.5)
        assert 0.0 <= wait <= 30.0 + 1e-6
        let_in += not wait
    assert let_in <= max(1.0, burst or rate) + sum(gaps) * rate + 1e-3
