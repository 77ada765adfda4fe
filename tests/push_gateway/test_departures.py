"""Who leaves when: whatever the loop's pace, the rate holds in each second, and everybody gets a turn."""

from hypothesis import given
from hypothesis import strategies as st

from push_gateway.departures import SPAN_S, Departures, Terms


def emptied(terms: Terms, sessions: int, pauses: list[float]) -> list[tuple[float, int]]:
    """(when, how many were asked) until all were, looked at after these pauses, again and again."""
    departures, now, asked, turn = Departures(terms, 0.0), 0.0, list[tuple[float, int]](), 0
    while sessions:
        count = departures.due(sessions, now)
        sessions -= count
        if count:
            asked.append((now, count))
        now += pauses[turn % len(pauses)]
        turn += 1
    return asked


@given(
    rate=st.integers(1, 500),
    sessions=st.integers(0, 300),
    pauses=st.lists(st.floats(0.01, 3.0), min_size=1, max_size=20),
    over_s=st.sampled_from([0.0, 0.5, 20.0]),
)
def test_no_second_sees_more_than_the_rate(rate: int, sessions: int, pauses: list[float], over_s: float) -> None:
    asked = emptied(Terms(rate, within_s=1e9, over_s=over_s), sessions, pauses)
    assert sum(count for _, count in asked) == sessions
    for began, _ in asked:
        assert sum(count for at, count in asked if began <= at < began + 1.0) <= rate


def test_at_a_steady_pace_the_rate_is_used_up() -> None:
    asked = emptied(Terms(rate=200, within_s=60.0), 1_000, [0.05])
    assert asked[-1][0] <= 1.1 * 1_000 * SPAN_S / 200
    assert max(count for _, count in asked) <= 10


def test_a_few_go_at_once_and_are_not_spread_over_the_time_there_is() -> None:
    asked = emptied(Terms(rate=200, within_s=60.0), 3, [0.05])
    assert asked[-1][0] <= 0.1


def test_spread_over_a_window_they_go_evenly_up_to_its_end() -> None:
    asked = emptied(Terms(rate=200, within_s=60.0, over_s=10.0), 100, [0.05])
    assert 9.0 < asked[-1][0] < 10.2
    assert sum(count for at, count in asked if at < 5.0) in range(45, 56)


def test_a_window_too_short_for_the_rate_gives_way_to_the_rate() -> None:
    assert emptied(Terms(rate=100, within_s=60.0, over_s=1.0), 1_000, [0.05])[-1][0] > 9.0


def test_a_loop_that_was_held_does_not_make_up_for_it_all_at_once() -> None:
    departures = Departures(Terms(rate=100, within_s=60.0), 0.0)
    assert departures.due(1_000, 0.0) == 1
    assert departures.due(1_000, 30.0) == 100
    assert departures.due(900, 30.05) == 0


def test_who_is_left_at_the_end_comes_back_at_the_rate() -> None:
    departures = Departures(Terms(rate=110, within_s=1.0), 0.0)
    assert departures.due(500, 0.0) == 1
    assert [departures.retry_ms(place, 5.0) for place in (0, 1, 99)] == [10, 20, 1_000]
