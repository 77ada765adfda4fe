"""From a push that is new to this device to its ack: handler returned, id remembered, then ack (PROTOCOL.md §5, "Ack").
Outlives connections: a handler may finish on a later one than its push came on.
"""

import asyncio
import inspect
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from sdk_proto.python.remember import Remember
from sdk_proto.python.seen import Seen, expiry
from sdk_proto.wire.frames import Push

PushHandler = Callable[[Push], object | Awaitable[object]]
"""The application's: a coroutine function runs on the loop; a plain function runs in a thread, so it may block."""

QUEUE = 1_024  # pushes that wait for their handler; beyond it they are not taken, and the server sends them again later
FAILURES_KEPT = 256


class DropPush(Exception):
    """Raised by a push handler to refuse a push for good: it ends as `undeliverable`, reason `dropped`."""


class Delivery:
    """Hands each push to the application once at a time, in the order of arrival, `concurrency` pushes side by side.

    A handler that raises or overruns `timeout_s` is not acked: the server takes its other roads and sends the push again after a
    reconnect. The `tries`-th failure ends it as `dropped`, so that one poisonous push doesn't hold a place of the window for ever.
    """

    def __init__(
        self,
        handler: PushHandler,
        *,
        seen: Seen,
        remember: Remember,
        settle: Callable[[int, str], None],
        report: Callable[[Exception, int], None],
        concurrency: int,
        timeout_s: float,
        tries: int,
    ) -> None:
        """`settle(id, status)` acks; `report(error, id)` is told of a handler that failed."""
        self._handler = handler
        self._threads = None if _is_async(handler) else ThreadPoolExecutor(concurrency, "taco-handler")
        self._seen = seen
        self._remember = remember
        self._settle = settle
        self._report = report
        self._concurrency = concurrency
        self._timeout_s = timeout_s
        self._tries = tries
        self._queue: deque[tuple[Push, int]] = deque()
        self._under_way: set[int] = set()
        self._workers: set[asyncio.Task[None]] = set()
        self._failures: OrderedDict[int, int] = OrderedDict()
        self._closed = False
        self.refused = 0  # pushes not taken because QUEUE were waiting

    def push(self, push: Push, now_ms: int) -> None:
        # Sent again on a new connection while its handler still runs: that run will ack it.
        if push.id in self._under_way or self._closed:
            return
        if len(self._queue) >= QUEUE:
            self.refused += 1
            return
        self._under_way.add(push.id)
        self._queue.append((push, now_ms))
        if len(self._workers) < self._concurrency:
            worker = asyncio.get_running_loop().create_task(self._work(), name="taco-delivery")
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    def recall(self, message_id: int, now_ms: int) -> None:
        """Taken back by its sender: counts as seen from now on, stored or not, for the push may be right behind it."""
        self._seen.add(message_id, expiry(0, now_ms))
        self._remember.add(message_id, 0, now_ms)

    async def drain(self, grace_s: float) -> None:
        """For good: start no further handler; give the running ones `grace_s`, then cancel them. Un-acked pushes come again.

        A handler may call this itself, by stopping its client: it is not waited for, and its push comes again.
        """
        self._closed = True
        for push, _ in self._queue:
            self._under_way.discard(push.id)
        self._queue.clear()
        workers = {worker for worker in self._workers if worker is not asyncio.current_task()}
        if workers:
            _, late = await asyncio.wait(workers, timeout=grace_s)
            for worker in late:
                worker.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        await self._remember.drain()

    async def _work(self) -> None:
        while self._queue:
            push, now_ms = self._queue.popleft()
            if push.id in self._seen:  # recalled while it waited
                self._done(push.id, "received")
                continue
            try:
                status = await self._handle(push)
            except asyncio.CancelledError:
                self._under_way.discard(push.id)
                raise
            if status is None:
                self._under_way.discard(push.id)
            else:
                self._remember.add(push.id, push.expires, now_ms, self._when_stored(push.id, status))

    def _when_stored(self, message_id: int, status: str) -> Callable[[], None]:
        return lambda: self._done(message_id, status)

    def _done(self, message_id: int, status: str) -> None:
        self._under_way.discard(message_id)
        self._failures.pop(message_id, None)
        self._settle(message_id, status)

    async def _handle(self, push: Push) -> str | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                if self._threads is None:
                    answer = self._handler(push)
                else:
                    answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._handler, push)
                if isinstance(answer, Awaitable):  # of a thread too: a lambda around a coroutine function
                    await answer
        except DropPush:
            return "dropped"
        except Exception as error:  # noqa: BLE001 - the edge to the application: whatever it raises must not end the client
            self._report(error, push.id)
            return self._failed(push.id)
        return "received"

    def _failed(self, message_id: int) -> str | None:
        failures = self._failures.pop(message_id, 0) + 1
        if failures >= self._tries:
            return "dropped"
        self._failures[message_id] = failures
        if len(self._failures) > FAILURES_KEPT:
            self._failures.popitem(last=False)
        return None


def _is_async(handler: PushHandler) -> bool:
    call = getattr(handler, "__call__", None)  # noqa: B004 - an object whose call is async
    return inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(call)
