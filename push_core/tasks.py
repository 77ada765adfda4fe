"""Background tasks with an owner: named, supervised, ended in order. No request ever owns one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from push_core.backoff import Backoff
from push_core.errors import Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics

log = structlog.get_logger(__name__)

_MAX_PAUSE_S = 5.0


class Crew:
    """The tasks of one program.

    `keep` runs a loop for ever: an error is logged and counted, and the loop starts again after a pause that grows; only
    `stop` ends it. `start` runs a coroutine once; its error is logged and counted.
    """

    def __init__(self, name: str, metrics: Metrics) -> None:
        self._name = name
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    def keep(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        self._add(name, self._forever(name, loop))

    def start(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._add(name, self._once(name, work))

    async def stop(self) -> None:
        """Cancel what runs and wait for it."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def finish(self, timeout_s: float) -> bool:
        """Wait for tasks that end by themselves; whether all did in time."""
        if not self._tasks:
            return True
        _, pending = await asyncio.wait(set(self._tasks), timeout=timeout_s)
        return not pending

    def _add(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work, name=f"{self._name}.{name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forever(self, name: str, loop: Callable[[], Awaitable[None]]) -> None:
        backoff = Backoff(base_s=0.1, max_s=_MAX_PAUSE_S)
        while True:
            began = time.monotonic()
            failed = await self._guarded(name, loop)
            if not failed or time.monotonic() - began > _MAX_PAUSE_S:
                backoff.reset()  # it ran well for a while: this failure has nothing to do with the last
            # A turn of the event loop at least: a loop that returns without waiting must not keep all others out.
            await asyncio.sleep(backoff.next_s() if failed else 0)

    async def _once(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        await self._guarded(name, lambda: work)

    async def _guarded(self, name: str, work: Callable[[], Awaitable[None]]) -> bool:
        """Whether it failed."""
        try:
            await work()
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Something that it waited for was cancelled, not we: only `stop` ends a kept loop.
            self._failed(name, error)
            return True
        except Exception as error:  # noqa: BLE001 - the supervised edge: a loop that dies silently is the worst fault of all
            self._failed(name, error)
            return True
        return False

    def _failed(self, name: str, error: BaseException) -> None:
        self._metrics.count(Metric.TASK_ERRORS, task=f"{self._name}.{name}")
        if isinstance(error, Unavailable):
            # An outage of a neighbour is no fault of the code: the reason tells all, and it may come again and again.
            log.warning("background task put off", task=f"{self._name}.{name}", reason=error.message)
            return
        log.error("background task failed", task=f"{self._name}.{name}", exc_info=error)
