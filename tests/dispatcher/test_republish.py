"""When a message may be published again, as plain values."""

import pytest

from dispatcher.pace import BEHIND_S, EMPTY_S, STEP_S, Gaps, Rate
from push_core.ids import make_id
from push_core.messages.port import Later, Task

NOW = 1_790_000_000_000
GAPS = Gaps(first_ms=5_000, most_ms=60_000)


@pytest.mark.parametrize(
    ("tries", "oldest_age_s", "gap_ms"),
    [
        (1, 0.0, 5_000),
        (2, 0.0, 10_000),
        (3, 0.0, 20_000),
        (9, 0.0, 60_000),
        (1, 30.0, 30_000),
        (2, 90.0, 60_000),
        (0, 0.0, 5_000),
    ],
)
def test_gaps_double_up_to_a_bound_and_are_not_shorter_than_the_queue_is_old(
    tries: int, oldest_age_s: float, gap_ms: int
) -> None:
    assert GAPS.after(tries, oldest_age_s) == gap_ms


@pytest.mark.parametrize(
    ("tries", "age_of_message_s", "oldest_age_s", "queued"),
    [
        (1, 100, 100.0, False),  # whoever put the row knows that nothing is queued
        (2, 20, 20.0, True),
        (2, 20, 19.0, False),  # the oldest body is younger than the message: it left the queue
        (3, 1_000, 10.0, True),  # published again a gap ago
        (3, 1_000, 9.0, False),
        (2, 0, 0.0, False),  # the queue is empty
        (2, 0, 0.001, True),
    ],
)
def test_a_body_may_be_queued_only_while_the_oldest_is_older(
    tries: int, age_of_message_s: int, oldest_age_s: float, queued: bool
) -> None:
    row = Later(
        id=make_id(NOW - age_of_message_s * 1_000, 0, 0, 0),
        app="a",
        device="d",
        task=Task.REPUBLISH,
        due=NOW,
        tries=tries,
    )
    assert GAPS.may_be_queued(row, oldest_age_s, NOW) is queued


def test_the_rate_refills_and_never_beyond_a_second() -> None:
    rate = Rate(10, 10)
    assert rate.take(25, 0.0) == 10
    assert rate.take(25, 0.5) == 5
    assert rate.take(25, 100.0) == 10
    assert rate.take(3, 101.0) == 3


def test_who_may_not_go_now_asks_again_in_turn_behind_those_before() -> None:
    rate = Rate(10, 10)
    rate.take(10, 0.0)
    assert rate.turns(25, 0.0) == [1] * 10 + [2] * 10 + [3] * 5
    assert rate.turns(10, 0.0) == [3] * 5 + [4] * 5
    assert rate.turns(5, 100.0) == [1] * 5, "nobody waits any more"


def test_the_rate_doubles_while_the_queues_are_next_to_empty_and_halves_while_they_are_behind() -> None:
    rate = Rate(100, 1_000)
    assert rate.per_s == 1_000, "nothing says that there is no room"
    seen = []
    for step in range(1, 7):
        rate.follow(BEHIND_S + 1, step * STEP_S)
        seen.append(rate.per_s)
    assert seen == [500, 250, 125, 100, 100, 100]
    rate.follow((EMPTY_S + BEHIND_S) / 2, 10.0)
    assert rate.per_s == 100, "neither"
    seen = []
    for step in range(5):
        rate.follow(0.0, 20.0 + step * STEP_S)
        seen.append(rate.per_s)
    assert seen == [200, 400, 800, 1_000, 1_000]


def test_the_rate_changes_once_a_step_so_that_its_effect_is_seen_first() -> None:
    rate = Rate(100, 1_000)
    for now in (10.0, 10.1, 10.2, 10.3):
        rate.follow(BEHIND_S + 1, now)
    assert rate.per_s == 500
    assert rate.take(1_000, 10.4) == 500, "what had gathered at the higher rate is gone with it"


def test_a_rate_that_is_capped_below_its_least_is_the_cap() -> None:
    rate = Rate(500, 50)
    rate.follow(BEHIND_S + 1, 1.0)
    assert rate.per_s == 50
