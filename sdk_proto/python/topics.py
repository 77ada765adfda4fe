"""The topics that the application wants, over connections: a subscription ends with its connection, a wish does not. Pure."""

from collections.abc import Iterable, Sequence

from sdk_proto.wire.frames import Subscribe, Unsubscribe
from sdk_proto.wire.rules import MAX_TOPIC, MAX_TOPICS

LIMIT = 1_000  # topics that are wanted at a time: more than servers grant


class Topics:
    """`want` and `drop` give the frames that tell a server of a change, `all` those that tell a new connection."""

    __slots__ = ("_wanted",)

    def __init__(self) -> None:
        self._wanted: dict[str, None] = {}  # in the order of their wish

    def want(self, topics: Iterable[str]) -> list[Subscribe]:
        """Raises ValueError, with nothing changed, for what no server can read and for more than LIMIT."""
        new = [topic for topic in dict.fromkeys(topics) if topic not in self._wanted]
        for topic in new:
            if not 1 <= len(topic) <= MAX_TOPIC or not topic.isprintable():
                raise ValueError(f"not a topic: {topic!r}")
        if len(self._wanted) + len(new) > LIMIT:
            raise ValueError(f"more than {LIMIT} topics")
        self._wanted.update(dict.fromkeys(new))
        return [Subscribe(part) for part in _parts(new)]

    def drop(self, topics: Iterable[str]) -> list[Unsubscribe]:
        gone = [topic for topic in dict.fromkeys(topics) if topic in self._wanted]
        for topic in gone:
            del self._wanted[topic]
        return [Unsubscribe(part) for part in _parts(gone)]

    def all(self) -> list[Subscribe]:
        return [Subscribe(part) for part in _parts(list(self._wanted))]


def _parts(topics: Sequence[str]) -> list[tuple[str, ...]]:
    return [tuple(topics[start : start + MAX_TOPICS]) for start in range(0, len(topics), MAX_TOPICS)]
