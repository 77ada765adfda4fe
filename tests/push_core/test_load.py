import asyncio

from push_core.load import TOLD_EACH, LoopLag
from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics

LIMIT_S = 0.25


def test_one_hiccup_stays_below_a_limit_that_the_same_delay_all_the_time_reaches() -> None:
    lag = LoopLag("api", MemoryMetrics())
    lag.note(0.33, 0.43)
    assert lag.smoothed_s < LIMIT_S
    late, seconds = LoopLag("api", MemoryMetrics()), 0.0
    while late.smoothed_s < LIMIT_S:
        late.note(0.33, 0.43)
        seconds += 0.43
    assert 0.5 < seconds < 2.0


def test_a_second_without_a_turn_is_more_than_a_hiccup() -> None:
    lag = LoopLag("api", MemoryMetrics())
    lag.note(1.0, 1.1)
    assert lag.smoothed_s > LIMIT_S


def test_it_is_over_soon_after_the_loop_keeps_up_again() -> None:
    lag = LoopLag("api", MemoryMetrics())
    for _ in range(20):
        lag.note(0.5, 0.6)
    for _ in range(10):
        lag.note(0.0, 0.1)
    assert lag.smoothed_s < LIMIT_S


async def test_the_delay_of_a_busy_loop_is_noticed_and_told() -> None:
    metrics = MemoryMetrics()
    now = 100.0

    def late() -> float:  # each sample takes a second
        nonlocal now
        now += 1.0
        return now

    lag = LoopLag("api", metrics, late)
    sampling = [asyncio.create_task(lag.sample()) for _ in range(TOLD_EACH)]
    await asyncio.wait(sampling)
    assert lag.smoothed_s > LIMIT_S
    assert metrics.newest(Metric.LOOP_LAG, program="api") == lag.smoothed_s
