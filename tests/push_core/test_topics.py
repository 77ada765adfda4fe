"""What topics and patterns are, by the golden vectors, and that rules which make no sense allow nothing."""

import doctest
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from push_core import topics
from push_core.topics import MAX_TOPIC, allows, is_pattern, is_topic, patterns_of
from tests.sdk_proto.vectors import load, names

TOPICS = st.from_regex(r"[A-Za-z0-9_.:/-]{1,8}", fullmatch=True)


def test_the_examples_are_true() -> None:
    assert doctest.testmod(topics).failed == 0


@pytest.mark.parametrize("vector", load("topics"), ids=names)
def test_patterns_allow_what_the_vectors_say(vector: Any) -> None:
    patterns = patterns_of(vector["patterns"])
    assert patterns is not None
    for topic in (*vector["allowed"], *vector["refused"]):
        assert is_topic(topic)
        assert allows(patterns, topic) is (topic in vector["allowed"])


@given(TOPICS, TOPICS)
def test_a_pattern_with_a_star_allows_what_begins_with_it_and_one_without_itself(beginning: str, topic: str) -> None:
    assert allows((f"{beginning}*",), topic) is topic.startswith(beginning)
    assert allows((beginning,), topic) is (topic == beginning)


@pytest.mark.parametrize("text", ["", "a b", "a\n", "a*", "ä", "x" * (MAX_TOPIC + 1), "a?b", "a#b"])
def test_what_is_no_topic(text: str) -> None:
    assert not is_topic(text)


@pytest.mark.parametrize("text", ["", "*a", "a*b", "**", "a *", "ä*", "x" * MAX_TOPIC + "*"])
def test_what_is_no_pattern(text: str) -> None:
    assert not is_pattern(text)


@pytest.mark.parametrize("value", ["*", {"a": 1}, 7, [7], ["a", None], [""], ["a"] * 65])
def test_a_value_that_makes_no_sense_is_told_from_one_that_allows_nothing(value: Any) -> None:
    assert patterns_of(value) is None
    assert patterns_of([]) == ()
