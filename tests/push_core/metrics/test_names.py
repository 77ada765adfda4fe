"""What metrics are called elsewhere."""

import re

import pytest

from push_core.metrics.catalogue import Metric
from push_core.metrics.names import folded, folded_name, prometheus_name


@pytest.mark.parametrize("metric", list(Metric), ids=lambda metric: metric.value)
def test_every_metric_has_a_name_that_prometheus_and_statsd_take(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9_]*", prometheus_name(metric))
    tags = dict.fromkeys(metric.meaning.tags, "a|b:c.d\n@é")
    assert re.fullmatch(r"[A-Za-z0-9_.-]+", folded_name(metric, tags))


def test_no_two_metrics_share_a_name() -> None:
    assert len({prometheus_name(metric) for metric in Metric}) == len(Metric)


def test_tags_are_folded_in_the_order_of_the_catalogue() -> None:
    assert folded_name(Metric.API_REQUESTS, {"status": "202", "method": "POST"}) == "api.requests.POST.202"
    assert folded_name(Metric.API_REQUESTS, {"method": "POST"}) == "api.requests.POST.none"


def test_a_long_value_is_cut() -> None:
    assert folded("x" * 500) == "x" * 64
