"""The catalogue holds what documents and adapters rely on."""

import re

import pytest

from push_core.metrics.catalogue import Metric


@pytest.mark.parametrize("metric", list(Metric), ids=lambda metric: metric.value)
def test_every_metric_has_a_name_a_kind_a_meaning_and_few_tags(metric: Metric) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z_]+)+", metric.value)
    assert metric.meaning.kind in {"count", "gauge", "timing"}
    assert metric.meaning.text
    assert len(metric.meaning.tags) <= 2


def test_no_metric_is_tagged_with_something_of_many_values() -> None:
    tags = {tag for metric in Metric for tag in metric.meaning.tags}
    assert not tags & {"device", "id", "session", "token", "key"}
