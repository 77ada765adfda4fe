"""When a message may be published again, as plain values."""

import pytest

from dispatcher.republish import Gaps, Rate
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
        (2, 90.0, 90_000),
        (0, 0.0, 5_000),
    ],
)
def test_gaps_double_up_to_a_bound_and_are_never_shorter_than_the_queue_is_old(
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
    rate = Rate(10)
    assert rate.take(25, 0.0) == 10
    assert rate.take(25, 0.5) == 5
    assert rate.take(25, 100.0) == 10
    assert rate.take(3, 101.0) == 3


def test_who_may_not_go_now_asks_again_in_turn_behind_those_before() -> None:
    rate = Rate(10)
    rate.take(10, 0.0)
    assert rate.turns(25, 0.0) == [1] * 10 + [2] * 10 + [3] * 5
    assert rate.turns(10, 0.0) == [3] * 5 + [4] * 5
    assert rate.turns(5, 100.0) == [1] * 5, "nobody waits any more"
