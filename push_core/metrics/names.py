"""What a metric of the catalogue is called elsewhere: in Prometheus, and in statsd, which has no tags."""

import re
from collections.abc import Mapping

from push_core.metrics.catalogue import Metric

_ODD = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_TAG = 64
NO_VALUE = "none"


def prometheus_name(metric: Metric) -> str:
    """Of the series that a query names; a timing's are this and `_bucket`, `_sum`, `_count`.

    >>> prometheus_name(Metric.API_REQUESTS), prometheus_name(Metric.GW_SESSIONS)
    ('taco_api_requests_total', 'taco_gateway_sessions')
    """
    name = "taco_" + metric.value.replace(".", "_")
    return f"{name}_total" if metric.meaning.kind == "count" else name


def folded_name(metric: Metric, tags: Mapping[str, str]) -> str:
    """The values of the tags behind the name, in the catalogue's order; what statsd would misread in them is `_`.

    >>> folded_name(Metric.API_REQUESTS, {"status": "202", "method": "POST"})
    'api.requests.POST.202'
    """
    return ".".join([metric.value, *(folded(tags.get(tag, "")) for tag in metric.meaning.tags)])


def folded(value: str) -> str:
    """One part of a name.

    >>> folded("a|b.c:d"), folded("")
    ('a_b_c_d', 'none')
    """
    return _ODD.sub("_", str(value))[:_LONGEST_TAG] or NO_VALUE
