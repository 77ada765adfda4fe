"""Every alarm hangs on metrics that exist, and leads somebody who was woken to a page that helps."""

import re

import pytest
import yaml  # type: ignore[import-untyped]

from ops.alarm import Alarm, Severity, metric_named
from ops.alarms import ALARMS, RULES, by_runbook, rules
from ops.docs import FOLDER
from push_core.metrics.catalogue import Metric
from push_core.metrics.names import prometheus_name

ROOT = FOLDER.parent
SOP = ROOT / "ops" / "sop"
SOURCES = "\n".join(
    path.read_text()
    for package in ("push_core", "push_gateway", "push_api", "dispatcher", "ops")
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.name != "alarms.py"
)
each_alarm = pytest.mark.parametrize("alarm", ALARMS, ids=lambda alarm: alarm.name)


def test_names_are_unique_and_fit_a_file() -> None:
    assert len({alarm.name for alarm in ALARMS}) == len(ALARMS)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", alarm.name) for alarm in ALARMS)


@each_alarm
def test_an_alarm_asks_for_metrics_of_the_catalogue_only(alarm: Alarm) -> None:
    known = {prometheus_name(metric) for metric in alarm.metrics}
    known |= {f"{prometheus_name(metric)}_bucket" for metric in alarm.metrics if metric.meaning.kind == "timing"}
    assert known
    assert set(re.findall(r"\btaco_\w+", alarm.query)) <= known
    assert "{" not in re.sub(r"\{[a-z]+(=|!=|=~|!~)\"[^}]*\}|\{\}", "", alarm.query), "a series that was not replaced"


@each_alarm
def test_an_alarm_asks_for_tags_that_its_metrics_have(alarm: Alarm) -> None:
    tags = {tag for metric in alarm.metrics for tag in metric.meaning.tags} | {"le", "instance", "job"}
    asked = set(re.findall(r"[{,]([a-z]+)(?:=|!=|=~|!~)\"", alarm.query))
    for group in re.findall(r"by \(([^)]*)\)", alarm.query):
        asked |= {tag.strip() for tag in group.split(",")}
    assert asked <= tags


@each_alarm
def test_a_timing_is_asked_as_a_histogram_and_a_count_for_its_growth(alarm: Alarm) -> None:
    for metric in alarm.metrics:
        series = rf"\b{prometheus_name(metric)}"
        if metric.meaning.kind == "timing":
            assert re.search(rf"rate\({series}_bucket", alarm.query)
        elif metric.meaning.kind == "count":
            assert re.search(rf"(rate|increase)\({series}\b", alarm.query)


@each_alarm
def test_values_of_tags_that_are_asked_for_exist_in_the_code(alarm: Alarm) -> None:
    for value in re.findall(r'(?:what|role|outcome|target|task)[=!]~?"([^"]+)"', alarm.query):
        for one in value.split("|"):
            assert f'"{one}"' in SOURCES or f'"{one} ' in SOURCES, one


@each_alarm
def test_an_alarm_leads_to_a_page_that_names_it_and_its_metrics(alarm: Alarm) -> None:
    page = (SOP / alarm.runbook).read_text()
    assert f"`{alarm.name}` ({alarm.severity}" in page or f"`{alarm.name}`" in page
    assert any(f"`{metric.value}`" in page for metric in alarm.metrics)


def test_no_page_is_without_an_alarm_but_that_of_a_fault_which_others_tell_of() -> None:
    pages = {path.name for path in SOP.glob("*.md")} - {"README.md"}
    assert pages - set(by_runbook()) == {"dispatcher-hung.md"}


def test_both_severities_are_used() -> None:
    assert {alarm.severity for alarm in ALARMS} == set(Severity)


def test_a_metric_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match=r"process\.unheard is not a metric of the catalogue"):
        _ = Alarm("x", Severity.TICKET, 0, "", "{process.unheard} > 1", "x.md").query
    assert metric_named("process.ready") is Metric.PROCESS_READY


def test_the_rules_are_yaml_as_prometheus_reads_it() -> None:
    (group,) = yaml.safe_load(rules())["groups"]
    assert [rule["alert"] for rule in group["rules"]] == [alarm.name for alarm in ALARMS]
    for rule, alarm in zip(group["rules"], ALARMS, strict=True):
        assert rule["expr"] == alarm.query
        assert rule["labels"] == {"severity": str(alarm.severity)}
        assert rule.get("for", "0s") == f"{alarm.for_s}s"
        assert (ROOT / rule["annotations"]["runbook"]).is_file()
    assert (ROOT / RULES).read_text() == rules()
