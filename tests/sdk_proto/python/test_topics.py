"""What an application wants to be subscribed to, and what is said of it."""

import pytest

from sdk_proto.python.topics import LIMIT, Topics
from sdk_proto.wire import frames as f
from sdk_proto.wire.rules import MAX_TOPICS


def test_only_what_changes_is_said() -> None:
    topics = Topics()
    assert topics.want(["a", "b", "a"]) == [f.Subscribe(("a", "b"))]
    assert topics.want(["b"]) == []
    assert topics.drop(["b", "c"]) == [f.Unsubscribe(("b",))]
    assert topics.all() == [f.Subscribe(("a",))]


def test_many_topics_take_several_frames() -> None:
    topics = Topics()
    names = [f"t-{number}" for number in range(MAX_TOPICS + 1)]
    assert [len(frame.topics) for frame in topics.want(names)] == [MAX_TOPICS, 1]
    assert [len(frame.topics) for frame in topics.all()] == [MAX_TOPICS, 1]
    assert [len(frame.topics) for frame in topics.drop(names)] == [MAX_TOPICS, 1]
    assert topics.all() == []


@pytest.mark.parametrize("bad", ["", "x" * 257, "a\nb"])
def test_what_no_server_can_read_is_refused_and_nothing_is_changed(bad: str) -> None:
    topics = Topics()
    with pytest.raises(ValueError, match="not a topic"):
        topics.want(["good", bad])
    assert topics.all() == []


def test_what_is_wanted_is_bounded() -> None:
    topics = Topics()
    topics.want([f"t-{number}" for number in range(LIMIT)])
    with pytest.raises(ValueError, match="more than"):
        topics.want(["one more"])
