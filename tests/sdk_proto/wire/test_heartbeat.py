"""Heartbeats as a server sees them: who counts as gone, and who pings too fast."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk_proto.wire.frames import Heartbeat
from sdk_proto.wire.heartbeat import HeartbeatPolicy

POLICY = HeartbeatPolicy()


@given(st.none() | st.integers(-(2**60), 2**60))
def test_a_wish_is_kept_within_the_bounds(wish: int | None) -> None:
    interval = POLICY.interval(wish)
    assert POLICY.min_s <= interval <= POLICY.max_s
    if wish is not None and POLICY.min_s <= wish <= POLICY.max_s:
        assert interval == wish


def test_a_client_is_gone_after_grace_times_its_interval() -> None:
    assert POLICY.silent_at(1_000.0, 240) == 1_000.0 + 1.5 * 240


def test_welcome_tells_the_bounds_and_the_interval_in_force() -> None:
    assert POLICY.frame(300) == Heartbeat(min=60, max=600, grace=1.5, next=300)


def pings(times: list[float]) -> list[bool]:
    """Which of the pings at these times are allowed."""
    level = 0.0
    allowed = []
    for now in times:
        after = POLICY.ping(level, now)
        allowed.append(after is not None)
        level = level if after is None else after
    return allowed


@pytest.mark.parametrize("start", [0.0, 12_345.678, 1e6 / 3])
def test_five_pings_at_once_are_allowed_and_one_more_per_half_of_min(start: float) -> None:
    assert pings([start] * 6) == [True] * 5 + [False]
    assert pings([start] * 5 + [start + 29.9, start + 30.1, start + 30.2]) == [True] * 5 + [False, True, False]


@given(st.floats(0, 1e6), st.integers(5, 50))
def test_a_client_that_keeps_to_half_of_min_may_ping_for_ever(start: float, count: int) -> None:
    assert all(pings([start + 30.0 * number for number in range(count)]))


@pytest.mark.parametrize(
    "wrong",
    [{"min_s": 0}, {"min_s": 300}, {"max_s": 100}, {"grace": 0.9}, {"burst": 0}],
)
def test_bounds_that_contradict_one_another_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="heartbeat"):
        HeartbeatPolicy(**wrong)  # type: ignore[arg-type]
