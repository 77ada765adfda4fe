"""The messages that were sent through the page, newest first: what its table starts with after a reload. Pure."""

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import msgspec

from push_core.models import PRIORITIES, Priority

LIMIT = 100


class Summary(msgspec.Struct, frozen=True):
    """What the push API's answer does not repeat. `sent` is Unix milliseconds."""

    sent: int
    title: str | None = None
    priority: str = Priority.NORMAL
    target: str = ""


class Recent:
    """At most `limit` messages; beyond it the oldest is forgotten (by the page, not by the product)."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._summaries: OrderedDict[str, Summary] = OrderedDict()

    def add(self, message_id: str, summary: Summary) -> None:
        self._summaries[message_id] = summary
        self._summaries.move_to_end(message_id)
        while len(self._summaries) > self._limit:
            self._summaries.popitem(last=False)

    def get(self, message_id: str) -> Summary | None:
        return self._summaries.get(message_id)

    def __iter__(self) -> Iterator[str]:
        return reversed(self._summaries)


def summarise(message: Any, now_ms: int) -> Summary:
    """From the message as it was sent; the push API has already accepted it, so its shape is known to be right."""
    title = message.get("title")
    priority = message.get("priority")
    return Summary(
        sent=now_ms,
        title=title if isinstance(title, str) else None,
        priority=priority if priority in PRIORITIES else Priority.NORMAL,
        target=_describe(message.get("target")),
    )


def _describe(target: Any) -> str:
    if not isinstance(target, dict) or not target:
        return ""
    kind, value = next(iter(target.items()))
    match kind, value:
        case "device", str():
            return value
        case _, str():
            return f"{kind} {value}"
        case _, list():
            return f"{len(value)} {kind}"
        case _:
            return str(kind)
