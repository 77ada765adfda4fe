"""Acks on their way to the server, over the life of the client: batched, and kept while there is no connection, since an ack may
name ids of an earlier one (PROTOCOL.md §5, "Ack"). Pure: `now` is monotonic seconds, handed in.

Nobody answers an ack. A lost `received` heals itself: the push comes again and is acked again. A lost `displayed` or `clicked`
would stay lost, so these are kept until a pong shows that the server had read what was sent before its ping.
"""

from collections import deque

from sdk_proto.wire.frames import MAX_ACK_IDS, Ack

BATCH_S = 0.05  # how long an ack may wait for others
BATCH_IDS = 64
LIMIT = 4_096  # acks kept, waiting or unconfirmed; beyond it the oldest goes
_REPORTS = ("displayed", "clicked")


class Acks:
    __slots__ = ("_batch_ids", "_due_at", "_sent", "_unconfirmed", "_waiting", "dropped")

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, str]] = deque()
        self._unconfirmed: deque[tuple[int, str, int]] = deque()  # id, status, the batch that it went with
        self._due_at: float | None = None
        self._batch_ids = BATCH_IDS
        self._sent = 0
        self.dropped = 0  # acks given up because too many had gathered

    @property
    def due_at(self) -> float | None:
        """When what waits should be sent; None if nothing waits."""
        return self._due_at

    def add(self, message_id: int, status: str, now: float) -> None:
        waiting = self._waiting
        waiting.append((message_id, status))
        if self._due_at is None:
            self._due_at = now + BATCH_S
        if len(waiting) >= self._batch_ids:
            self._due_at = min(self._due_at, now)
            self._bound()

    def take(self) -> list[Ack]:
        """All that waits, as frames: one status a frame, in the order in which the statuses came first."""
        by_status: dict[str, dict[int, None]] = {}
        self._sent += 1
        for message_id, status in self._waiting:
            by_status.setdefault(status, {})[message_id] = None
            if status in _REPORTS:
                self._unconfirmed.append((message_id, status, self._sent))
        self._waiting.clear()
        self._due_at = None
        self._bound()
        frames = []
        for status, unique in by_status.items():
            ids = tuple(unique)
            frames += [Ack(ids[at : at + MAX_ACK_IDS], status) for at in range(0, len(ids), MAX_ACK_IDS)]
        return frames

    @property
    def mark(self) -> int:
        """What a pong to a ping that is sent now will confirm."""
        return self._sent

    def confirm(self, mark: int) -> None:
        """The server has read everything up to `mark`."""
        while self._unconfirmed and self._unconfirmed[0][2] <= mark:
            self._unconfirmed.popleft()

    def reopen(self, window: int, now: float) -> None:
        """A new connection: what was never confirmed is sent again, at once.

        The server goes on when half of the window is free, so a batch never waits for more ids than that.
        """
        self._batch_ids = max(1, min(BATCH_IDS, window // 2))
        self._waiting.extendleft((message_id, status) for message_id, status, _ in reversed(self._unconfirmed))
        self._unconfirmed.clear()
        self._bound()
        self._due_at = now if self._waiting else None

    def _bound(self) -> None:
        for kept in (self._waiting, self._unconfirmed):
            while len(kept) > LIMIT:
                kept.popleft()
                self.dropped += 1
