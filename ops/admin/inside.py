"""All that lets a running process be seen into, put in place by one call: the admin port, the watchdog of the loop, the counting of errors,
the samples of what it costs.

    async with Inside(settings.admin, role="gateway", name="gw-1", key=cluster_key, ready=missing, data=folder) as inside:
        inside.use(ports.metrics)   # as soon as there are any; what was counted before is not lost
"""

import asyncio
import faulthandler
import gc
import re
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from ops import logs
from ops.admin import samples
from ops.admin.heap import heap_page
from ops.admin.server import AdminServer, Page
from ops.admin.settings import AdminSettings
from ops.admin.stacks import stacks_page
from ops.admin.tasks import born, tasks_page
from ops.admin.uncaught import Uncaught
from ops.admin.watchdog import Watchdog
from push_core.metrics.catalogue import Metric
from push_core.metrics.null import NullMetrics
from push_core.metrics.port import Exposed, Metrics, Named
from push_core.tasks import Crew

STACKS_SIGNAL = signal.SIGUSR1
"""Writes the stacks of all threads to stderr, even when the loop is held and the admin port silent."""

MOST_REASONS = 50
_DETAIL = re.compile(r"\s*[(:;].*|\s+(does not answer|can't be reached)\b.*", re.DOTALL)


def subject(reason: str) -> str:
    """What a line of /readyz is about, without its details: few values.

    >>> subject("the message store does not answer (no answer within 2.5 s)"), subject("no issuer number is held")
    ('the message store', 'no issuer number is held')
    """
    return _DETAIL.sub("", reason)[:60]


class Inside:
    """Of one process: make one, on its loop. `ready` says why the process takes no work, a line each."""

    def __init__(
        self,
        settings: AdminSettings,
        *,
        role: str,
        name: str,
        key: str | None,
        ready: Callable[[], Awaitable[list[str]]],
        data: Path | None = None,
    ) -> None:
        self._settings = settings
        self._role = role
        self._name = name
        self._ready = ready
        self._data = data
        self._metrics: Metrics = NullMetrics()
        self._uncaught_counts: Counter[str] = Counter()
        self._uncaught = Uncaught(self._count_uncaught)
        self._cpu_ms = 0
        self._collections = [0, 0, 0]
        self._started = time.time()
        self._watchdog = (
            Watchdog(held_s=settings.held_s, every_s=settings.held_every_s) if settings.held_s > 0 else None
        )
        self._crew = Crew("admin", NullMetrics())
        self._signal = False
        self._watching = False
        self._reasons: set[str] = set()
        self._server = (
            AdminServer(
                settings.host,
                settings.port,
                key=key,
                ready=ready,
                exposition=self._exposition,
                pages={
                    "/debug/tasks": tasks_page,
                    "/debug/stacks": stacks_page(self._watchdog),
                    "/debug/heap": heap_page,
                },
                settings=settings,
            )
            if settings.port >= 0
            else None
        )

    @property
    def port(self) -> int | None:
        """Of the admin server, known after `start`; None when it is off."""
        return self._server.address[1] if self._server is not None else None

    async def start(self) -> None:
        """Raises ConfigError when the admin port can't be had; nothing is left in place then."""
        if self._server is not None:
            await self._server.start()
        loop = asyncio.get_running_loop()
        loop.set_task_factory(born)
        self._uncaught.install(loop)
        # No terminal, no such signal, a stderr without a descriptor (tests): then not.
        with suppress(AttributeError, OSError, RuntimeError, ValueError):
            faulthandler.register(STACKS_SIGNAL, file=sys.stderr, all_threads=True)
            self._signal = True
        self._crew.keep("samples", self._sample_and_sleep)

    async def stop(self) -> None:
        await self._crew.stop()
        if self._watchdog is not None and self._watching:
            self._watchdog.stop()
        if self._signal:
            faulthandler.unregister(STACKS_SIGNAL)
            self._signal = False
        self._uncaught.remove()
        asyncio.get_running_loop().set_task_factory(None)
        if self._server is not None:
            await self._server.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def use(self, metrics: Metrics) -> None:
        """Where the figures go from now on."""
        if isinstance(metrics, Named):
            metrics.name_process(self._name)
        self._metrics = metrics
        self.sample()

    def add(self, pages: Mapping[str, Page], actions: Mapping[str, Page]) -> None:
        """What the program itself shows and is asked for on the admin port (`AdminServer`)."""
        if self._server is not None:
            self._server.add(pages, actions)

    def sample(self) -> None:
        """Measure the process once. What only counts since the last sample is kept until there are metrics."""
        metrics = self._metrics
        if isinstance(metrics, NullMetrics):
            return
        metrics.gauge(Metric.PROCESS_STARTED, self._started)
        metrics.gauge(Metric.PROCESS_RSS, samples.memory()[0])
        metrics.gauge(Metric.PROCESS_FILES, samples.open_files())
        metrics.gauge(Metric.PROCESS_FILES_MOST, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        metrics.gauge(Metric.PROCESS_TASKS, len(asyncio.all_tasks()))
        metrics.gauge(Metric.PROCESS_THREADS, threading.active_count())
        if self._data is not None and (free := samples.free_bytes(self._data)) is not None:
            metrics.gauge(Metric.PROCESS_DISK_FREE, free)
        cpu_ms = samples.cpu_ms()
        metrics.count(Metric.PROCESS_CPU, cpu_ms - self._cpu_ms)
        self._cpu_ms = cpu_ms
        for generation, found in enumerate(gc.get_stats()):
            metrics.count(
                Metric.PROCESS_COLLECTIONS,
                found["collections"] - self._collections[generation],
                generation=str(generation),
            )
            self._collections[generation] = found["collections"]
        if self._watchdog is not None:
            held, not_run, lag_s = self._watchdog.take()
            metrics.count(Metric.LOOP_HELD, held)
            metrics.count(Metric.NOT_RUN, not_run)
            metrics.gauge(Metric.LOOP_WORST, lag_s)
        for logger, lines in logs.error_lines.take().items():
            metrics.count(Metric.ERROR_LOGS, lines, logger=logger)
        for task, errors in self._uncaught_counts.items():
            metrics.count(Metric.TASK_ERRORS, errors, task=task)
        self._uncaught_counts.clear()

    async def _sample_and_sleep(self) -> None:
        self.sample()
        measured = not isinstance(self._metrics, NullMetrics)
        if measured or not self._watching:
            missing = await self._missing()
            if measured:
                self._tell_ready(missing)
            if not missing and not self._watching and self._watchdog is not None:
                # Not before: a start loads and computes, and holds up nobody.
                self._watchdog.start()
                self._watching = True
        await asyncio.sleep(self._settings.sample_s)

    def _tell_ready(self, missing: list[str]) -> None:
        metrics = self._metrics
        metrics.gauge(Metric.PROCESS_READY, 0.0 if missing else 1.0, role=self._role)
        now = {subject(reason) for reason in missing}
        self._reasons.update(sorted(now)[: MOST_REASONS - len(self._reasons)])
        for reason in self._reasons:  # those that are over too
            metrics.gauge(Metric.PROCESS_MISSING, 1.0 if reason in now else 0.0, what=reason)

    async def _missing(self) -> list[str]:
        try:
            async with asyncio.timeout(self._settings.answer_s):
                return await self._ready()
        except TimeoutError:
            return ["no answer in time"]

    def _count_uncaught(self, where: str) -> None:
        self._uncaught_counts[where] += 1

    def _exposition(self) -> tuple[bytes, str] | None:
        return self._metrics.exposition() if isinstance(self._metrics, Exposed) else None
