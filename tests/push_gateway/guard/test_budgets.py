"""What a session sends is measured, what we asked for is not, and nothing is kept of those that are quiet."""

from hypothesis import given
from hypothesis import strategies as st

from push_gateway.guard.budgets import Budgets


def test_so_many_frames_at_once_and_then_as_they_come_back() -> None:
    budgets, session = Budgets(10.0, 0.0, 2.0), object()
    assert [budgets.spend(session, 1, 100, 5.0) for _ in range(21)] == [""] * 20 + ["frames"]
    budgets = Budgets(10.0, 0.0, 2.0)
    assert budgets.spend(session, 20, 0, 5.0) == ""
    assert budgets.spend(session, 10, 0, 6.0) == ""
    assert budgets.spend(session, 1, 0, 6.0) == "frames"


def test_bytes_are_counted_beside_frames() -> None:
    budgets, session = Budgets(10.0, 1_000.0, 2.0), object()
    assert budgets.spend(session, 1, 2_000, 5.0) == ""
    assert budgets.spend(session, 1, 1, 5.0) == "bytes"


def test_what_we_asked_for_costs_nothing() -> None:
    budgets, session = Budgets(10.0, 1_000.0, 1.0), object()
    for _ in range(1_000):
        assert budgets.spend(session, 0, 40, 5.0) == ""
        budgets.give_back(session, 40)
    budgets.forget(session)
    budgets.give_back(session, 40)
    assert len(budgets) == 0


def test_a_rate_of_nothing_is_no_limit() -> None:
    budgets = Budgets(0.0, 0.0, 1.0)
    assert budgets.spend(object(), 10**9, 10**9, 5.0) == ""


def test_sessions_do_not_pay_for_one_another() -> None:
    budgets, one, other = Budgets(1.0, 0.0, 1.0), object(), object()
    assert budgets.spend(one, 100, 0, 5.0) == "frames"
    assert budgets.spend(other, 1, 0, 5.0) == ""


def test_nothing_is_kept_of_those_that_are_quiet() -> None:
    budgets = Budgets(10.0, 1_000.0, 10.0)
    for number in range(10_000):
        budgets.spend(object(), 1, 10, number * 0.001)
    assert len(budgets) <= 200  # those of the last tenth of a second
    budgets.sweep(20.0)
    assert len(budgets) == 0


@given(st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 5), st.integers(0, 500)), max_size=80))
def test_who_stays_within_rate_and_burst_is_never_ended_and_who_does_not_is(sent: list[tuple[float, int, int]]) -> None:
    budgets, session, now = Budgets(5.0, 300.0, 4.0), object(), 100.0
    frames = size = 0.0  # what a bucket of 20 frames and one of 1,200 bytes lack
    for gap, n, length in sent:
        now += gap
        frames = max(0.0, frames - 5.0 * gap) + n
        size = max(0.0, size - 300.0 * gap) + length
        said = budgets.spend(session, n, length, now)
        if abs(frames - 20) > 0.01 and abs(size - 1_200) > 0.01:
            assert bool(said) == (frames > 20 or size > 1_200)
