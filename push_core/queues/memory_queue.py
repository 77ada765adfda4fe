"""One queue of the memory adapter: bodies in order, with a limit for what comes new."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class Item:
    """`since` is the monotonic time of its publication, kept when it comes back."""

    body: bytes
    since: float
    tries: int = 0


class MemoryQueue:
    def __init__(self, name: str, length: int, limit_bytes: int) -> None:
        self.name = name
        self._length = length
        self._limit_bytes = limit_bytes
        self._items: deque[Item] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: Item) -> bool:
        """Append; False, and nothing is done, at a limit."""
        if len(self._items) >= self._length or self._bytes + len(item.body) > self._limit_bytes:
            return False
        self._items.append(item)
        self._bytes += len(item.body)
        return True

    def pop(self) -> Item:
        item = self._items.popleft()
        self._bytes -= len(item.body)
        return item

    def put_back(self, items: Sequence[Item]) -> None:
        """To the front, in the order given, each with one more try."""
        for item in reversed(items):
            item.tries += 1
            self._items.appendleft(item)
            self._bytes += len(item.body)

    def oldest_since(self) -> float | None:
        return self._items[0].since if self._items else None
