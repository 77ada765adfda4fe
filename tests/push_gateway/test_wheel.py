"""The timing wheel: nothing fires early, everything fires, and nothing is kept that was cancelled."""

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st

from push_gateway.wheel import Timed, Wheel

STEP = 0.25


class Entry(Timed):
    __slots__ = ("__weakref__", "at")

    def __init__(self) -> None:
        self.armed = 0
        self.at = 0.0

    def on_due(self, now: float) -> None:
        raise AssertionError("the wheel only says who is due")


times = st.floats(0, 2_000, allow_nan=False)
actions = st.lists(
    st.one_of(
        st.tuples(st.just("arm"), st.integers(0, 9), times),
        st.tuples(st.just("cancel"), st.integers(0, 9), st.just(0.0)),
        st.tuples(st.just("tick"), st.just(0), st.floats(0, 700)),
    ),
    max_size=60,
)


@given(st.floats(0, 1e6), actions)
def test_in_any_order_of_calls_each_entry_fires_once_after_its_time_and_within_a_step(
    start: float, todo: list[tuple[str, int, float]]
) -> None:
    wheel = Wheel(STEP, start)
    entries = [Entry() for _ in range(10)]
    armed: set[Entry] = set()
    now = start
    for what, number, value in todo:
        entry = entries[number]
        if what == "arm":
            entry.at = max(now, start + value)  # a time that has passed counts as now
            wheel.arm(entry, start + value)
            armed.add(entry)
        elif what == "cancel":
            wheel.cancel(entry)
            armed.discard(entry)
        else:
            now += value
            due = wheel.tick(now)
            assert len(set(due)) == len(due)
            assert set(due) <= armed
            assert all(entry.at <= now for entry in armed & set(due))
            armed -= set(due)
            assert all(left.at > now - 2 * STEP for left in armed)  # nothing is left behind its time
        assert len(wheel) == len(armed)
        assert all(bool(entry.armed) == (entry in armed) for entry in entries)
    due = wheel.tick(now + 3_000)
    assert set(due) == armed
    assert len(wheel) == 0


@given(st.lists(st.floats(0, 3), max_size=40), st.integers(1, 7), st.integers(0, 39))
def test_what_is_taken_in_parts_comes_once_and_can_be_cancelled_in_between(
    times: list[float], most: int, cancelled: int
) -> None:
    wheel = Wheel(STEP, 0.0)
    entries = [Entry() for _ in times]
    for entry, at in zip(entries, times, strict=True):
        wheel.arm(entry, at)
    taken: list[Timed] = []
    while part := wheel.tick(4.0, most):
        assert len(part) <= most
        taken += part
        assert len(wheel) == len(entries) - len(taken)
        for entry in entries[cancelled : cancelled + 1]:
            if entry.armed:
                wheel.cancel(entry)
                entries.remove(entry)
    assert len(taken) == len(set(taken))
    assert set(taken) == set(entries)
    assert len(wheel) == 0


def test_what_is_due_comes_in_order_of_its_time() -> None:
    wheel = Wheel(STEP, 0.0)
    late, soon, soonest = Entry(), Entry(), Entry()
    for entry, at in ((late, 900.0), (soon, 5.0), (soonest, 0.1)):
        wheel.arm(entry, at)
    assert wheel.tick(1_000.0) == [soonest, soon, late]


def test_an_entry_that_is_moved_fires_only_at_its_new_time() -> None:
    wheel = Wheel(STEP, 0.0)
    entry = Entry()
    wheel.arm(entry, 1.0)
    wheel.arm(entry, 10.0)
    assert wheel.tick(5.0) == []
    assert wheel.tick(10.5) == [entry]


def test_a_cancelled_entry_is_not_kept_alive() -> None:
    wheel = Wheel(STEP, 0.0)
    entry = Entry()
    gone = weakref.ref(entry)
    wheel.arm(entry, 600.0)
    wheel.arm(entry, 1.0)
    wheel.cancel(entry)
    del entry
    gc.collect()
    assert gone() is None
    assert len(wheel) == 0
