"""What Prometheus scrapes."""

from prometheus_client.parser import text_string_to_metric_families

from push_core.metrics.catalogue import Metric
from push_core.metrics.prometheus import PrometheusMetrics


def scraped(metrics: PrometheusMetrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text, content_type = metrics.exposition()
    assert content_type.startswith("text/plain; version=0.0.4")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_counts_and_gauges_are_read_with_their_tags() -> None:
    metrics = PrometheusMetrics()
    metrics.count(Metric.API_REQUESTS, 2, method="POST", status="202")
    metrics.count(Metric.API_REQUESTS, status="202", method="POST")
    metrics.count(Metric.API_REQUESTS, -1, status="202", method="POST")
    metrics.gauge(Metric.GW_SESSIONS, 7)
    found = scraped(metrics)
    assert found["taco_api_requests_total", (("method", "POST"), ("status", "202"))] == 3
    assert found["taco_gateway_sessions", ()] == 7


def test_a_timing_is_a_histogram_of_seconds() -> None:
    metrics = PrometheusMetrics()
    for seconds in (0.004, 0.15, 7.0, float("nan")):
        metrics.timing(Metric.API_COMMIT_SECONDS, seconds)
    found = scraped(metrics)
    assert found["taco_api_commit_seconds_count", ()] == 3
    assert found["taco_api_commit_seconds_bucket", (("le", "0.2"),)] == 2
    assert found["taco_api_commit_seconds_bucket", (("le", "+Inf"),)] == 3


def test_only_the_catalogue_is_shown() -> None:
    metrics = PrometheusMetrics()
    metrics.count(Metric.GW_ACK_MISSES)
    assert {name for name, _ in scraped(metrics)} == {"taco_gateway_ack_misses_total"}


def test_odd_tags_are_escaped() -> None:
    metrics = PrometheusMetrics()
    metrics.count(Metric.API_ACCEPTED, app='a"b\\c\nd')
    assert scraped(metrics)["taco_api_accepted_total", (("app", 'a"b\\c\nd'),)] == 1


def test_series_over_the_bound_are_dropped_with_a_count() -> None:
    metrics = PrometheusMetrics(size=2)
    for app in ("a", "b", "c", "a"):
        metrics.count(Metric.API_ACCEPTED, app=app)
    assert len(scraped(metrics)) == 2
    assert metrics.dropped == 1


async def test_after_the_end_nothing_changes() -> None:
    metrics = PrometheusMetrics()
    metrics.count(Metric.GW_ACK_MISSES)
    await metrics.close()
    metrics.count(Metric.GW_ACK_MISSES)
    metrics.count(Metric.API_ACCEPTED, app="a")
    assert scraped(metrics) == {("taco_gateway_ack_misses_total", ()): 1.0}
