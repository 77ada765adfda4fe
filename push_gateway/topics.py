"""Which sessions of this node are subscribed to which topics.

Subscriptions last as long as their session; a session without any is not in here, and costs nothing. Who asked for what is decided
by `push_core/topics.py`; what is written to a topic's sessions is the business of `push_gateway/broadcasts.py`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import structlog

from push_core.metrics.catalogue import Metric
from push_core.topics import allows, control_key, is_topic, patterns_of
from push_gateway.counters import Counters
from sdk_proto.wire.frames import Error

if TYPE_CHECKING:
    from push_gateway.connection import Connection

log = structlog.get_logger(__name__)

NAMED_IN_ERROR = 1_024  # characters of topics that an error names
SHARED = 1_024  # lists of patterns that sessions share


class Topic:
    """One topic of one app, shared by all its sessions. A lone session, as topics of one user have, needs no set."""

    __slots__ = ("_sessions", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self._sessions: Connection | set[Connection] | None = None

    def __contains__(self, session: "Connection") -> bool:
        held = self._sessions
        return session in held if type(held) is set else session is held

    def __bool__(self) -> bool:
        return bool(self._sessions)

    def sessions(self) -> "list[Connection]":
        """Those of this moment."""
        held = self._sessions
        if held is None:
            return []
        return list(held) if isinstance(held, set) else [held]

    def add(self, session: "Connection") -> None:
        held = self._sessions
        if held is None:
            self._sessions = session
        elif isinstance(held, set):
            held.add(session)
        else:
            self._sessions = {held, session}

    def discard(self, session: "Connection") -> None:
        held = self._sessions
        if isinstance(held, set):
            held.discard(session)
        elif held is session:
            self._sessions = None


class Topics:
    """`value` reads control. `most` topics a session at its own wish; what the server side adds is not counted against it."""

    def __init__(self, value: Callable[[str], Any], counters: Counters, *, most: int) -> None:
        self._value = value
        self._counters = counters
        self._most = most
        self._by_app: dict[str, dict[str, Topic]] = {}
        self._of: dict[Connection, tuple[Topic, ...]] = {}
        self._granted: dict[Connection, Sequence[str]] = {}  # of sessions whose token names any
        self._shared: dict[Sequence[str], Sequence[str]] = {}
        self._rules: dict[str, tuple[Any, Sequence[str]]] = {}

    def __len__(self) -> int:
        """Topics that have a session."""
        return sum(map(len, self._by_app.values()))

    @property
    def subscriptions(self) -> int:
        return sum(map(len, self._of.values()))

    def find(self, app: str, name: str) -> Topic | None:
        return self._by_app.get(app, _NO_TOPICS).get(name)

    def of(self, session: "Connection") -> list[str]:
        return [topic.name for topic in self._of.get(session, ())]

    # ── a session's life ──────────────────────────────────────────────────────────────────────────────────────────────

    def admit(self, session: "Connection", granted: Sequence[str], topics: Sequence[str]) -> None:
        """It signs in: `granted` are the patterns of its token, `topics` what its device is subscribed to by the server side."""
        if granted:
            if len(self._shared) >= SHARED:
                self._shared.clear()
            self._granted[session] = self._shared.setdefault(granted, granted)
        if topics:
            self.add(session, topics)

    def forget(self, session: "Connection") -> None:
        """It is over."""
        if self._granted:
            self._granted.pop(session, None)
        if self._of:
            for topic in self._of.pop(session, ()):
                self._leave(session, topic)

    # ── subscribing ───────────────────────────────────────────────────────────────────────────────────────────────────

    def wish(self, session: "Connection", names: Sequence[str], *, on: bool) -> list[Error]:
        """What a client asks for, as far as it may; errors for the rest."""
        if not on:
            self.remove(session, names)
            return []
        allowed: list[str] = []
        refused: dict[str, list[str]] = {}
        patterns = (*self._granted.get(session, ()), *self._rules_of(session.key[0]))
        held = {topic.name for topic in self._of.get(session, ())}
        for name in dict.fromkeys(names):
            if name in held:
                continue
            if not is_topic(name):
                refused.setdefault("invalid_topic", []).append(name)
            elif not allows(patterns, name):
                refused.setdefault("forbidden", []).append(name)
            elif len(held) + len(allowed) >= self._most:
                refused.setdefault("too_many_topics", []).append(name)
            else:
                allowed.append(name)
        self.add(session, allowed)
        if allowed:
            self._counters.add(Metric.GW_SUBSCRIBES, "subscribed", len(allowed))
        for code, those in refused.items():
            self._counters.add(Metric.GW_SUBSCRIBES, code, len(those))
        return [Error(code=code, message=" ".join(those)[:NAMED_IN_ERROR]) for code, those in refused.items()]

    def add(self, session: "Connection", names: Iterable[str]) -> None:
        """Whatever its token says."""
        topics = self._by_app.setdefault(session.key[0], {})
        joined = list(self._of.get(session, ()))
        for name in names:
            topic = topics.get(name)
            if topic is None:
                topic = topics[name] = Topic(name)
            if session not in topic:
                topic.add(session)
                joined.append(topic)
        if joined:
            self._of[session] = tuple(joined)
        if not topics:
            del self._by_app[session.key[0]]

    def remove(self, session: "Connection", names: Iterable[str]) -> None:
        gone = set(names)
        joined = self._of.get(session, ())
        left = tuple([topic for topic in joined if topic.name not in gone])
        if len(left) == len(joined):
            return
        for topic in joined:
            if topic.name in gone:
                self._leave(session, topic)
        if left:
            self._of[session] = left
        else:
            del self._of[session]

    def _leave(self, session: "Connection", topic: Topic) -> None:
        topic.discard(session)
        if not topic:
            topics = self._by_app[session.key[0]]
            del topics[topic.name]
            if not topics:
                del self._by_app[session.key[0]]

    def _rules_of(self, app: str) -> Sequence[str]:
        """As control has them at this moment; read again when they changed."""
        value = self._value(control_key(app))
        if value is None:
            self._rules.pop(app, None)
            return ()
        known = self._rules.get(app)
        if known is None or known[0] is not value:
            patterns = patterns_of(value)
            if patterns is None:
                log.warning("the rules of an app for topics make no sense; they allow nothing", app=app)
            known = self._rules[app] = value, patterns or ()
        return known[1]


_NO_TOPICS: dict[str, Topic] = {}
