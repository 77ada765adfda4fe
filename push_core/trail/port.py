"""The port of the trail. Events are facts about one delivery; no payloads, no secrets."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    at: int  # Unix ms
    id: int
    app: str
    device: str
    step: str  # a State, or a step that is none: "expanded", "published_again", "vendor_retry", …
    reason: str = ""
    channel: str = ""
    node: str = ""
    traceparent: str = ""


class Trail(Protocol):
    def write(self, events: Sequence[Event]) -> None:
        """Take note; returns at once and never raises."""
        ...

    async def of_message(self, app: str, message_id: int, limit: int = 1_000) -> list[Event]:
        """In order of time."""
        ...

    async def close(self) -> None: ...
