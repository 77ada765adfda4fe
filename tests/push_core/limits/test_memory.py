"""Bounds of the limits in this process."""

from push_core.limits.memory import MemoryLimits
from push_core.limits.port import Ask
from tests.support.hand_clock import HandClock


async def test_buckets_that_are_full_again_leave_nothing_behind() -> None:
    clock = HandClock()
    limits = MemoryLimits(monotonic=clock.monotonic)
    for second in range(100):
        await limits.take([Ask(f"address {second}.{n}", 1, 1.0, 10) for n in range(10)])
        clock.advance(1)
    assert len(limits) <= 20


async def test_at_the_bound_the_bucket_longest_without_a_grant_is_full_again() -> None:
    limits = MemoryLimits(size=3, monotonic=HandClock().monotonic)
    await limits.take([Ask(key, 10, 0.1, 10) for key in ("a", "b", "c", "d")])
    assert len(limits) == 3
    waits = await limits.take([Ask(key, 1, 0.1, 10) for key in ("b", "c", "d", "a")])
    assert [wait > 0 for wait in waits] == [True, True, True, False]
