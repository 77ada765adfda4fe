"""The ids this device has already shown: the newest 2,048 at least, until they expire (PROTOCOL.md §5, "Ack"). Pure.

What makes them last over a restart is `remember.py`; here is only what is known, and what may be forgotten.
"""

from collections.abc import Iterable

CAPACITY = 2_048  # kept at least
SLACK = 2_048  # gathered on top before anything is forgotten, so that forgetting is rare and comes in bulk
LONGEST_TTL_MS = 604_800_000  # how long an id is kept whose expiry nobody told us (docs/api.md, `ttl`)


class Seen:
    """Ids in the order in which they were learned. Times are Unix milliseconds of the server's clock."""

    __slots__ = ("_expires",)

    def __init__(self, known: Iterable[tuple[int, int]] = ()) -> None:
        self._expires: dict[int, int] = dict(known)

    def __contains__(self, message_id: object) -> bool:
        return message_id in self._expires

    def __len__(self) -> int:
        return len(self._expires)

    def add(self, message_id: int, expires: int) -> None:
        """Know an id, as the newest if it is new."""
        self._expires.setdefault(message_id, expires)

    def forget(self, now_ms: int) -> list[int]:
        """What need not be known any more: nothing until CAPACITY + SLACK are known, then the expired and the oldest."""
        known = self._expires
        if len(known) < CAPACITY + SLACK:
            return []
        gone = [message_id for message_id, expires in known.items() if expires <= now_ms]
        for message_id in gone:
            del known[message_id]
        oldest = list(known)[: max(0, len(known) - CAPACITY)]
        for message_id in oldest:
            del known[message_id]
        return gone + oldest


def expiry(expires: int, now_ms: int) -> int:
    """Until when to know an id: its own expiry, or the longest there can be when it has none.

    >>> expiry(0, 1_790_000_000_000) - 1_790_000_000_000 == LONGEST_TTL_MS
    True
    """
    return expires or now_ms + LONGEST_TTL_MS
