"""What an alarm is, and how its condition is written: in Prometheus' language, its series by the names of the metrics' catalogue."""

import enum
import re
from dataclasses import dataclass

from push_core.metrics.catalogue import Metric
from push_core.metrics.names import prometheus_name


class Severity(enum.StrEnum):
    """Who is told, and when."""

    PAGE = "page"  # somebody is woken: messages are late or refused
    TICKET = "ticket"  # looked at in the morning: nothing is lost or late yet


@dataclass(frozen=True, slots=True)
class Alarm:
    """`expression` is in Prometheus' language, its series written as `{catalogue.name}`, so that a metric which is renamed can't be missed;
    `{name}:bucket` is the histogram of a timing."""

    name: str
    severity: Severity
    for_s: int
    when: str
    expression: str
    runbook: str

    @property
    def metrics(self) -> list[Metric]:
        return [metric_named(name) for name in dict.fromkeys(_SERIES.findall(self.expression))]

    @property
    def query(self) -> str:
        """The expression as Prometheus takes it. Raises ValueError for a metric that the catalogue does not have."""
        return re.sub(
            r":bucket", "_bucket", _SERIES.sub(lambda match: prometheus_name(metric_named(match[1])), self.expression)
        )


_BY_NAME = {metric.value: metric for metric in Metric}
_SERIES = re.compile(r"\{([a-z_]+(?:\.[a-z_]+)+)\}")


def metric_named(name: str) -> Metric:
    """Raises ValueError for a name that the catalogue does not have."""
    if name not in _BY_NAME:
        raise ValueError(f"{name} is not a metric of the catalogue")
    return _BY_NAME[name]


def grew(metric: str, window: str, by: str = "", labels: str = "", more_than: int = 0) -> str:
    """A count went up by more than so much. One that was not there before is at its first value, which `increase` does not see."""
    series = f"{{{metric}}}{labels}"
    grouped = f"sum by ({by}) " if by else "sum"
    return (
        f"{grouped}(increase({series}[{window}])) > {more_than} "
        f"or {grouped}({series} unless {series} offset {window}) > {more_than}"
    )


def nobody(role: str) -> str:
    return f'absent({{process.ready}}{{role="{role}"}} == 1)'


def misses(*what: str) -> str:
    return f'max by (what) ({{process.missing}}{{what=~"{"|".join(what)}"}}) == 1'


def p99(metric: str, labels: str, by: str, over_s: float) -> str:
    return f"histogram_quantile(0.99, sum by (le, {by}) (rate({{{metric}}}:bucket{{{labels}}}[5m]))) > {over_s:g}"


def fewer(role: str) -> str:
    nodes = f'{{dispatcher.nodes}}{{role="{role}"}}'
    return f"max({nodes}) < max(max_over_time({nodes}[15m]))"
