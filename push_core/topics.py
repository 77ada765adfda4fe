"""What topics are called, and which a client may subscribe to: patterns of its token and rules of its app. Pure.

A topic has 1 to 256 of the letters and digits of ASCII and `_ . : / -`. A pattern is a topic, or a beginning of topics and one `*` behind it:
`city-*` allows `city-021`, `*` allows all. A topic holds no `*`, so a pattern is never mistaken for one.

Rules of apps live in control, a key for each app that has any, so that every gateway knows them within a second and asks nobody.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

MAX_TOPIC = 256
MAX_PATTERNS = 64  # in a token, and in the rules of an app
CONTROL_PREFIX = "topics."
_TOPIC = re.compile(rf"[A-Za-z0-9_.:/-]{{1,{MAX_TOPIC}}}\Z")
_PATTERN = re.compile(rf"(?=.{{1,{MAX_TOPIC}}}\Z)[A-Za-z0-9_.:/-]*\*?\Z")


def is_topic(text: str) -> bool:
    """
    >>> is_topic("city-021"), is_topic("orders/9:new"), is_topic("city-*"), is_topic("")
    (True, True, False, False)
    """
    return _TOPIC.match(text) is not None


def is_pattern(text: str) -> bool:
    """
    >>> is_pattern("city-021"), is_pattern("city-*"), is_pattern("*"), is_pattern("*-021"), is_pattern("")
    (True, True, True, False, False)
    """
    return _PATTERN.match(text) is not None


def allows(patterns: Iterable[str], topic: str) -> bool:
    """
    >>> allows(("news", "city-*"), "city-021"), allows(("news", "city-*"), "news-021")
    (True, False)
    """
    return any(topic.startswith(each[:-1]) if each[-1] == "*" else topic == each for each in patterns)


def patterns_of(value: Any) -> Sequence[str] | None:
    """What a token's claim or a value of control says; None for what makes no sense as a whole. Nothing said allows nothing.

    >>> patterns_of(["news", "city-*"]), patterns_of(None), patterns_of("*"), patterns_of(["*a"])
    (('news', 'city-*'), (), None, None)
    """
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > MAX_PATTERNS:
        return None
    if not all(isinstance(each, str) and is_pattern(each) for each in value):
        return None
    return tuple(dict.fromkeys(value))


def control_key(app: str) -> str:
    """Where the rules of an app are kept in control: a list of patterns."""
    return f"{CONTROL_PREFIX}{app}"
