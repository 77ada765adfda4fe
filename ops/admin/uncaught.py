"""Errors that nobody caught: of tasks that nobody awaited, of callbacks, of threads. Each is a log line and a count, and ends nothing."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import structlog

log = structlog.get_logger(__name__)


class Uncaught:
    """`count` is told where each came from: "stray" (a task or callback of the loop) or "thread". `install` on the loop's thread."""

    def __init__(self, count: Callable[[str], None]) -> None:
        self._count = count
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread_hook = threading.excepthook

    def install(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        loop.set_exception_handler(self._of_loop)
        self._thread_hook, threading.excepthook = threading.excepthook, self._of_thread

    def remove(self) -> None:
        if self._loop is not None:
            self._loop.set_exception_handler(None)
            self._loop = None
            threading.excepthook = self._thread_hook

    def _of_loop(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        task = context.get("task") or context.get("future")
        self._count("stray")
        log.error(
            "uncaught error in the event loop",
            message=context.get("message", ""),
            task=task.get_name() if isinstance(task, asyncio.Task) else None,
            exc_info=context.get("exception"),
        )

    def _of_thread(self, args: threading.ExceptHookArgs) -> None:
        if args.exc_type is SystemExit:
            return
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._count, "thread")
        log.error(
            "uncaught error in a thread",
            thread=args.thread.name if args.thread is not None else None,
            exc_info=args.exc_value,
        )
