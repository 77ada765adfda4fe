"""Errors that nobody caught."""

import asyncio
import gc
import threading
from typing import Any

from structlog.testing import capture_logs

from ops.admin.uncaught import Uncaught


async def test_a_task_that_nobody_awaited_is_logged_and_counted() -> None:
    counted: list[str] = []
    uncaught = Uncaught(counted.append)
    uncaught.install(asyncio.get_running_loop())

    async def fails() -> None:
        raise RuntimeError("a defect")

    with capture_logs() as lines:
        task = asyncio.create_task(fails(), name="forgotten")
        await asyncio.wait({task})
        del task
        gc.collect()
        await asyncio.sleep(0)
    uncaught.remove()
    assert counted == ["stray"]
    assert lines[0]["event"] == "uncaught error in the event loop"
    assert lines[0]["task"] == "forgotten"


async def test_a_callback_that_fails_is_logged_and_counted() -> None:
    counted: list[str] = []
    uncaught = Uncaught(counted.append)
    loop = asyncio.get_running_loop()
    uncaught.install(loop)
    with capture_logs() as lines:
        loop.call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)
    uncaught.remove()
    assert counted == ["stray"]
    assert isinstance(lines[0]["exc_info"], ZeroDivisionError)


async def test_a_thread_that_fails_is_logged_and_counted_on_the_loop() -> None:
    told = asyncio.Event()
    counted: list[str] = []

    def count(where: str) -> None:
        counted.append(where)
        told.set()

    def fails() -> Any:
        return 1 / 0

    uncaught = Uncaught(count)
    hook = threading.excepthook
    uncaught.install(asyncio.get_running_loop())
    with capture_logs() as lines:
        thread = threading.Thread(target=fails, name="worker")
        thread.start()
        await told.wait()
        thread.join()
    uncaught.remove()
    assert counted == ["thread"]
    assert (lines[0]["event"], lines[0]["thread"]) == ("uncaught error in a thread", "worker")
    assert threading.excepthook is hook
