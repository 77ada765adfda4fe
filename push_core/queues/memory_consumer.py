"""A consumer of the memory adapter: takes from several queues by weight, and owes an ack for each body."""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Sequence

from push_core.queues.memory_queue import Item, MemoryQueue
from push_core.queues.port import ConsumerClosed, Source, Taken
from push_core.queues.round_robin import leader, play


class _Intake:
    """A source with its queue, its standing in the round robin, and how much of it is unsettled here."""

    __slots__ = ("prefetch", "queue", "standing", "unsettled", "weight")

    def __init__(self, source: Source, queue: MemoryQueue) -> None:
        if source.weight < 1 or source.prefetch < 1:
            raise ValueError(f"{source.queue}: weight and prefetch must be at least 1")
        self.queue = queue
        self.weight = source.weight
        self.prefetch = source.prefetch
        self.standing = 0
        self.unsettled = 0

    @property
    def open(self) -> bool:
        return len(self.queue) > 0 and self.unsettled < self.prefetch


class MemoryConsumer:
    def __init__(
        self,
        sources: Sequence[Source],
        queues: Sequence[MemoryQueue],
        monotonic: Callable[[], float],
        match: Callable[[], None],
        closed: "Callable[[MemoryConsumer], None]",
    ) -> None:
        if len({source.queue for source in sources}) != len(sources):
            raise ValueError("a queue is named twice among the sources")
        self._intakes = [_Intake(source, queue) for source, queue in zip(sources, queues, strict=True)]
        self._monotonic = monotonic
        self._match = match
        self._on_closed = closed
        self._tags = itertools.count(1)
        self._unsettled: dict[int, tuple[_Intake, Item]] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._closed = False

    async def take(self) -> Taken:
        while True:
            if self._closed:
                raise ConsumerClosed
            intake = self._choose()
            if intake is not None:
                return self._take_from(intake)
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                self._match()  # it may have been woken for something that it will not take now
                raise

    def take_more(self, limit: int) -> list[Taken]:
        found: list[Taken] = []
        while len(found) < limit and not self._closed and (intake := self._choose()) is not None:
            found.append(self._take_from(intake))
        return found

    async def ack(self, tags: Sequence[int]) -> None:
        for tag in tags:
            self._settle(tag)
        self._match()

    async def give_back(self, tags: Sequence[int]) -> None:
        self._put_back(tags)
        self._match()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._put_back(list(self._unsettled))
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        self._on_closed(self)

    def wake(self) -> bool:
        """Wake one waiting `take` if there is one and something for it; whether one was woken."""
        if not self._waiters or not any(intake.open for intake in self._intakes):
            return False
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return True
        return False

    def _choose(self) -> _Intake | None:
        playing = [intake for intake in self._intakes if intake.open]
        chosen = leader(playing)
        if chosen is not None:
            play(playing, chosen)
        return chosen

    def _take_from(self, intake: _Intake) -> Taken:
        item = intake.queue.pop()
        tag = next(self._tags)
        intake.unsettled += 1
        self._unsettled[tag] = intake, item
        self._match()  # what it was woken for may be another body than the one it took
        age_s = max(0.0, self._monotonic() - item.since)
        return Taken(intake.queue.name, item.body, tag, item.tries > 0, item.tries, age_s)

    def _settle(self, tag: int) -> tuple[_Intake, Item] | None:
        settled = self._unsettled.pop(tag, None)
        if settled is not None:
            settled[0].unsettled -= 1
        return settled

    def _put_back(self, tags: Sequence[int]) -> None:
        back: dict[MemoryQueue, list[Item]] = {}
        for tag in sorted(tags):  # tags are given out in order, so this is the order in which they were queued
            settled = self._settle(tag)
            if settled is not None:
                back.setdefault(settled[0].queue, []).append(settled[1])
        for queue, items in back.items():
            queue.put_back(items)
