"""What every adapter of metrics promises: to take whatever the catalogue names, and never to be in the way."""

from collections.abc import AsyncIterator

import pytest

from push_core.metrics.catalogue import Metric
from push_core.metrics.memory import MemoryMetrics
from push_core.metrics.null import NullMetrics
from push_core.metrics.port import Metrics
from push_core.metrics.prometheus import PrometheusMetrics
from push_core.metrics.statsd import StatsdMetrics

CALLS = {"count": "count", "gauge": "gauge", "timing": "timing"}


class MetricsContract:
    """Subclasses give the fixture `metrics`."""

    @pytest.mark.parametrize("metric", list(Metric), ids=lambda metric: metric.value)
    async def test_it_takes_every_metric_of_the_catalogue(self, metrics: Metrics, metric: Metric) -> None:
        record = getattr(metrics, CALLS[metric.meaning.kind])
        tags = dict.fromkeys(metric.meaning.tags, "some")
        assert record(metric, 1, **tags) is None

    async def test_values_and_tags_of_any_sort_do_no_harm(self, metrics: Metrics) -> None:
        metrics.count(Metric.GW_CLOSED, -5, code="")
        metrics.gauge(Metric.GW_SESSIONS, float("nan"))
        metrics.timing(Metric.API_COMMIT_SECONDS, 0.0)
        metrics.count(Metric.API_ACCEPTED, app="a|b:c#d\n@é")

    async def test_after_the_end_it_is_silent(self, metrics: Metrics) -> None:
        await metrics.close()
        await metrics.close()
        metrics.count(Metric.GW_SIGN_INS, outcome="won")
        metrics.gauge(Metric.GW_SESSIONS, 1.0)
        metrics.timing(Metric.API_COMMIT_SECONDS, 0.1)

    async def test_tags_that_the_catalogue_does_not_have_do_no_harm(self, metrics: Metrics) -> None:
        metrics.count(Metric.API_REQUESTS, method="POST")
        metrics.count(Metric.GW_ACK_MISSES, unheard_of="x")

    async def test_more_series_than_there_is_room_for_do_no_harm(self, metrics: Metrics) -> None:
        for number in range(20_000):
            metrics.count(Metric.API_ACCEPTED, app=str(number))


class TestNullMetrics(MetricsContract):
    @pytest.fixture
    def metrics(self) -> NullMetrics:
        return NullMetrics()


class TestMemoryMetrics(MetricsContract):
    @pytest.fixture
    def metrics(self) -> MemoryMetrics:
        return MemoryMetrics()


class TestStatsdMetrics(MetricsContract):
    @pytest.fixture
    async def metrics(self) -> AsyncIterator[StatsdMetrics]:
        metrics = await StatsdMetrics.open("127.0.0.1", 9, flush_ms=5)  # the port that discards
        yield metrics
        await metrics.close()


class TestPrometheusMetrics(MetricsContract):
    @pytest.fixture
    def metrics(self) -> PrometheusMetrics:
        return PrometheusMetrics()
