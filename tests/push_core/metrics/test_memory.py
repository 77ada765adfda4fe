"""What the metrics in this process can be asked."""

from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics, Timing


def test_counts_add_up_by_tags_and_over_them() -> None:
    metrics = MemoryMetrics()
    metrics.count(Metric.API_REFUSED, app="courier", code="invalid")
    metrics.count(Metric.API_REFUSED, 2, code="invalid", app="courier")
    metrics.count(Metric.API_REFUSED, 4, app="shop", code="too_many")
    assert metrics.counted(Metric.API_REFUSED) == 7
    assert metrics.counted(Metric.API_REFUSED, app="courier") == 3
    assert metrics.counted(Metric.API_REFUSED, app="courier", code="too_many") == 0
    assert metrics.counted(Metric.API_ACCEPTED) == 0


def test_a_gauge_keeps_its_newest_value() -> None:
    metrics = MemoryMetrics()
    assert metrics.newest(Metric.GW_SESSIONS) is None
    metrics.gauge(Metric.GW_SESSIONS, 3)
    metrics.gauge(Metric.GW_SESSIONS, 2)
    assert metrics.newest(Metric.GW_SESSIONS) == 2


def test_timings_keep_calls_total_and_longest() -> None:
    metrics = MemoryMetrics()
    for seconds in (0.5, 2.0, 0.5):
        metrics.timing(Metric.API_COMMIT_SECONDS, seconds)
    assert metrics.timed(Metric.API_COMMIT_SECONDS) == Timing(3, 3.0, 2.0)
    assert metrics.timed(Metric.DI_NODE_CALL_SECONDS) == Timing()


def test_beyond_the_bound_new_series_are_dropped_with_a_count_and_old_ones_go_on() -> None:
    metrics = MemoryMetrics(size=2)
    for app in ("a", "b", "c", "a"):
        metrics.count(Metric.API_ACCEPTED, app=app)
    assert metrics.counted(Metric.API_ACCEPTED) == 3
    assert metrics.dropped == 1
