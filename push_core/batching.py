"""Requests arriving together are handled together: one batcher in front of each neighbour that takes lists.

A caller that goes away takes only its own waiting with it, never the batch (work that must outlive a request is not tied to
it). While one batch is under way the next one gathers, so batches grow with load and a lone item waits for nobody.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from push_core.errors import Overloaded, TacoError, Unavailable

T = TypeVar("T")
R = TypeVar("R")


class Batcher(Generic[T, R]):
    """Gathers items and hands them to `work` as lists of at most `largest`, `parallel` lists at a time.

    `work` returns one result per item, in order; an exception that it raises reaches every item of that list, and a result that is an
    exception reaches its own item only. `linger_s` is how long a batch waits for company when nothing is under way. Between the beginnings of two
    lists `every_s` pass at least, unless there is enough for a full one: what comes alone goes at once, what comes fast goes together. At `bound` items
    waiting, `submit` raises Overloaded. With `size` an item counts for so many: a request that brings a list is one item and one future,
    and an item larger than `largest` is a batch alone.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Awaitable[Sequence[R | BaseException]]],
        *,
        largest: int,
        bound: int,
        parallel: int = 1,
        linger_s: float = 0.0,
        every_s: float = 0.0,
        name: str = "batcher",
        size: Callable[[T], int] | None = None,
    ) -> None:
        self._work = work
        self._size = size
        self._largest = largest
        self._bound = bound
        self._parallel = parallel
        self._linger_s = linger_s
        self._every_s = every_s
        self._began_at = float("-inf")  # in the loop's time
        self._name = name
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._waiting_size = 0
        self._under_way: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Handle | None = None
        self._lingering = False  # the timer's time is not now
        self._closed = False

    def __len__(self) -> int:
        """Items that wait for a batch (not those under way), by their size."""
        return self._waiting_size

    def submit(self, item: T) -> "asyncio.Future[R]":
        """The item's result, to be awaited. Raises Overloaded at the bound, Unavailable after `close`."""
        return self.submit_all((item,))[0]

    def submit_all(self, items: Sequence[T]) -> "list[asyncio.Future[R]]":
        """As `submit` for several items, all or none."""
        if self._closed:
            raise Unavailable(f"{self._name} is shut down")
        more = sum(map(self._size, items)) if self._size else len(items)
        if self._waiting_size + more > self._bound:
            raise Overloaded(f"{self._name}: {self._waiting_size} items are waiting already (limit {self._bound})")
        self._waiting_size += more
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[R]] = []
        for item in items:
            future: asyncio.Future[R] = loop.create_future()
            future.add_done_callback(_mark_retrieved)
            self._waiting.append((item, future))
            futures.append(future)
        if len(self._under_way) < self._parallel:
            self._start_soon(self._linger_s)
        return futures

    def _start_soon(self, linger_s: float) -> None:
        full = self._waiting_size >= self._largest
        if full and self._lingering and self._timer is not None:
            self._timer.cancel()  # there is no room for more company
            self._timer = None
        if self._timer is None:
            loop = asyncio.get_running_loop()
            wait_s = 0.0 if full else max(linger_s, self._began_at + self._every_s - loop.time())
            self._lingering = wait_s > 0
            # A turn of the loop at least, so that all requests read in this turn share the batch.
            self._timer = loop.call_later(wait_s, self._start) if wait_s > 0 else loop.call_soon(self._start)

    async def close(self) -> None:
        """Take nothing more; return when everything taken has its result."""
        self._closed = True
        self._every_s = 0.0
        if self._timer is not None:
            self._timer.cancel()
            self._start()
        while self._under_way:
            await asyncio.wait(self._under_way)

    def _start(self) -> None:
        self._timer = None
        while self._waiting and len(self._under_way) < self._parallel:
            count = self._next_count()
            batch, self._waiting = self._waiting[:count], self._waiting[count:]
            loop = asyncio.get_running_loop()
            self._began_at = loop.time()
            task = loop.create_task(self._run(batch), name=self._name)
            self._under_way.add(task)
            task.add_done_callback(self._finished)
            if self._every_s > 0 and self._waiting and len(self._under_way) < self._parallel:
                self._start_soon(0.0)
                return

    def _next_count(self) -> int:
        """How many of those that wait make the next batch; they stop counting as waiting."""
        if self._size is None:
            count = min(self._largest, len(self._waiting))
            self._waiting_size -= count
            return count
        total = count = 0
        for item, _ in self._waiting:
            size = self._size(item)
            if count and total + size > self._largest:
                break
            total += size
            count += 1
        self._waiting_size -= total
        return count

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._under_way.discard(task)
        if task.cancelled():  # the loop is ending: nothing new is started in it, and nobody waits for what won't come
            waiting, self._waiting, self._waiting_size = self._waiting, [], 0
            _settle(waiting, [Unavailable(f"{self._name} was cancelled")] * len(waiting))
        elif self._timer is None and self._waiting:
            if self._every_s > 0:
                self._start_soon(0.0)
            else:
                self._start()

    async def _run(self, batch: "list[tuple[T, asyncio.Future[R]]]") -> None:
        results: Sequence[R | BaseException]
        try:
            results = await self._work([item for item, _ in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"{len(results)} results for {len(batch)} items")
        except TacoError as error:
            results = [error] * len(batch)
        except asyncio.CancelledError:
            results = [Unavailable(f"{self._name} was cancelled")] * len(batch)
            task = asyncio.current_task()
            if task is not None and task.cancelling():  # we are; else something within `work` was: an error like others
                _settle(batch, results)
                raise
        except Exception as error:  # noqa: BLE001 - the edge: an unforeseen error must reach every waiter, or they wait for ever
            results = [error] * len(batch)
        _settle(batch, results)


def _settle(batch: "list[tuple[T, asyncio.Future[R]]]", results: "Sequence[R | BaseException]") -> None:
    for (_, future), result in zip(batch, results, strict=True):
        if future.done():  # its caller went away
            continue
        if isinstance(result, BaseException):
            future.set_exception(result)
        else:
            future.set_result(result)


def _mark_retrieved(future: "asyncio.Future[R]") -> None:
    if not future.cancelled():
        future.exception()  # a caller may have stopped listening; that is no error of ours
