"""Background tasks with an owner: named, supervised, ended in order. No request ever owns one (rule 8)."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog

from push_core.backoff import Backoff
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics

log = structlog.get_logger(__name__)


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
        backoff = Backoff(base_s=0.1, max_s=5.0)
        while True:
            try:
                await loop()
                backoff.reset()
            except Exception as error:  # noqa: BLE001 - the supervised edge: a loop that dies silently is the worst fault of all
                self._failed(name, error)
                await asyncio.sleep(backoff.next_s())

    async def _once(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:  # noqa: BLE001 - as above
            self._failed(name, error)

    def _failed(self, name: str, error: Exception) -> None:
        self._metrics.count(Metric.TASK_ERRORS, task=f"{self._name}.{name}")
        log.error("background task failed", task=f"{self._name}.{name}", exc_info=error)
