"""Who holds the loop."""

import asyncio
import json
import signal
import sys
import time
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from ops.admin.watchdog import Watchdog


def holds_the_loop(seconds: float) -> None:
    """Blocks, as a driver does that should have been in a thread."""
    time.sleep(seconds)


def computes(seconds: float) -> None:
    until = time.process_time() + seconds
    while time.process_time() < until:
        sum(range(1_000))


async def counted(watchdog: Watchdog) -> tuple[int, int]:
    """After the next beats."""
    held = not_run = 0
    for _ in range(200):
        await asyncio.sleep(0.02)
        more = watchdog.take()
        held, not_run = held + more[0], not_run + more[1]
        if held or not_run:
            break
    return held, not_run


@pytest.mark.parametrize("hold", [holds_the_loop, computes])
async def test_the_stack_that_holds_the_loop_is_logged_once_and_the_hold_counted(
    hold: Callable[[float], None],
) -> None:
    watchdog = Watchdog(held_s=0.1, every_s=10.0)
    watchdog.start()
    with capture_logs() as lines:
        await asyncio.sleep(0.06)
        hold(1.0)
        held, not_run = await counted(watchdog)
    watchdog.stop()
    assert (held, not_run) == (1, 0)
    (line,) = [line for line in lines if line["event"] == "the event loop is held"]
    assert any(hold.__name__ in frame for frame in line["stack"])
    assert [line["event"] for line in lines if "runs again" in line["event"]] == ["the event loop runs again"]
    assert watchdog.holds[0].stack


async def test_many_holds_are_counted_but_not_all_logged() -> None:
    watchdog = Watchdog(held_s=0.05, every_s=60.0)
    watchdog.start()
    with capture_logs() as lines:
        for _ in range(3):
            await asyncio.sleep(0.1)
            holds_the_loop(0.6)
        await asyncio.sleep(0.1)
    held, _, lag_s = watchdog.take()
    watchdog.stop()
    assert held == 3
    assert lag_s > 0.2
    assert len([line for line in lines if line["event"] == "the event loop is held"]) == 1
    assert len(watchdog.holds) == 3


async def test_a_loop_that_turns_is_not_accused() -> None:
    watchdog = Watchdog(held_s=5.0, every_s=0.0)
    watchdog.start()
    for _ in range(20):
        await asyncio.sleep(0.01)
    assert watchdog.take()[:2] == (0, 0)
    assert not watchdog.holds
    watchdog.stop()


async def test_a_process_that_was_stopped_blames_no_stack() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.ops.admin.stopped_process", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert json.loads(await process.stdout.readline()) == "ready"
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(0.7)  # as long as it is stopped: nothing to wait for
    process.send_signal(signal.SIGCONT)
    assert json.loads(await process.stdout.readline()) == {"held": 0, "not_run": 1, "holds": 0}
    assert await process.wait() == 0
