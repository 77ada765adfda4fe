"""Who holds the event loop: a heartbeat on the loop, and a thread that looks at the loop's stack when the heart does not beat.

Two clocks tell three things apart: a callback that computes or blocks (its stack is logged), and a process that was not run at all (stopped
by a signal, or a machine with no CPU to give), for which no stack is to blame.
"""

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import structlog

from ops.admin.frames import stack_of

log = structlog.get_logger(__name__)

DEEPEST = 40  # frames of a stack that are logged, the innermost
WORTH_SAYING_S = 1.0  # a process that was not run for less is counted, without a line
KEPT = 5  # holds that are remembered for /debug/stacks


@dataclass(frozen=True, slots=True)
class Hold:
    """One that was looked at. `cpu_s` is what the loop's thread computed meanwhile: much less than `held_s` means that it was blocked."""

    at_unix: float
    held_s: float
    cpu_s: float
    stack: tuple[str, ...]


class Watchdog:
    """`held_s`: how long is too long; `every_s`: pause between two log lines. The counts are read with `take`.

    `start` and `stop` on the loop that is watched.
    """

    def __init__(
        self,
        *,
        held_s: float,
        every_s: float,
        now: Callable[[], float] = time.monotonic,
        frames: Callable[[], dict[int, FrameType]] = sys._current_frames,
    ) -> None:
        self._held_s = held_s
        self._every_s = every_s
        self._interval_s = held_s / 2
        self._now = now
        self._frames = frames
        self._stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop_thread = 0
        self._native_thread = 0
        # Written by the loop, read by the thread.
        self._due = 0.0
        self._cpu_at_beat = 0.0
        # Written by the thread, read by the loop.
        self._ticked = 0.0
        self._excused = 0.0, 0.0  # a beat's time, and how much of its lateness is nobody's fault
        self._seen_due = 0.0  # the beat whose lateness has been looked at
        self._logged_at = float("-inf")
        self._unlogged = 0
        # Written by the loop only.
        self._held = 0
        self._not_run = 0
        self._lag_s = 0.0
        self.holds: deque[Hold] = deque(maxlen=KEPT)

    def start(self) -> None:
        self._loop_thread = threading.get_ident()
        self._native_thread = threading.get_native_id()
        self._ticked = self._now()
        self._arm()
        threading.Thread(target=self._watch, name="admin.watchdog", daemon=True).start()

    def stop(self) -> None:
        """The thread ends by itself at its next turn."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()

    def take(self) -> tuple[int, int, float]:
        """Since the last time: how often the loop was held, how often the process was not run, the longest delay of the loop in seconds."""
        taken = self._held, self._not_run, self._lag_s
        self._held, self._not_run, self._lag_s = 0, 0, 0.0
        return taken

    def _arm(self) -> None:
        self._cpu_at_beat = time.thread_time()
        self._due = self._now() + self._interval_s
        self._timer = asyncio.get_running_loop().call_later(self._interval_s, self._beat)

    def _beat(self) -> None:
        now = self._now()
        lag_s = now - self._due
        self._lag_s = max(self._lag_s, lag_s)
        if lag_s > self._held_s:
            cpu_s = time.thread_time() - self._cpu_at_beat
            due, excused_s = self._excused
            excused_s = excused_s if due == self._due else 0.0
            if cpu_s < self._held_s:  # the thread may not have had its turn yet to say that it was not run either
                excused_s += max(0.0, now - self._ticked - self._interval_s)
            if lag_s - excused_s <= self._held_s and cpu_s <= self._held_s:
                self._not_run += 1
                if lag_s >= WORTH_SAYING_S:
                    log.warning(
                        "the process was not run: stopped, or the machine has no CPU to give", seconds=round(lag_s, 3)
                    )
            else:
                self._held += 1
                if self._seen_due == self._due and self._logged_at >= self._due:
                    log.warning("the event loop runs again", held_ms=round(lag_s * 1_000), cpu_ms=round(cpu_s * 1_000))
        self._arm()

    def _watch(self) -> None:
        clock = time.pthread_getcpuclockid(self._loop_thread)
        while True:
            asleep_at, cpu_before = self._now(), time.process_time()
            time.sleep(self._interval_s)  # a third cheaper than an event that could be waited for
            if self._stopped:
                return
            now = self._now()
            overslept_s = now - asleep_at - self._interval_s
            due = self._due
            excused_s = self._excused[1] if self._excused[0] == due else 0.0
            # This thread only sleeps: when it comes late and the process has not computed meanwhile, the process was not run.
            if overslept_s > 0 and time.process_time() - cpu_before < overslept_s / 2:
                excused_s += max(0.0, min(overslept_s, now - due))
            if now - due - excused_s > self._held_s and due != self._seen_due:
                frame = self._frames().get(self._loop_thread)
                stack = stack_of(frame)[-DEEPEST:] if frame is not None else []
                cpu_s = time.clock_gettime(clock) - self._cpu_at_beat
                if cpu_s < self._held_s and (_is_idle(stack) or _waits_for_cpu(self._native_thread)):
                    excused_s = now - due  # it would run if it could
                else:
                    self._seen_due = due
                    self._look(now, now - due, cpu_s, tuple(stack))
            self._excused = due, excused_s
            self._ticked = now

    def _look(self, now: float, held_s: float, cpu_s: float, stack: tuple[str, ...]) -> None:
        self.holds.append(Hold(time.time(), held_s, cpu_s, stack))
        if now - self._logged_at < self._every_s:
            self._unlogged += 1
            return
        self._logged_at = now
        log.warning(
            "the event loop is held",
            held_ms=round(held_s * 1_000),
            cpu_ms=round(cpu_s * 1_000),
            not_logged=self._unlogged,
            stack=list(stack),
        )
        self._unlogged = 0


def _is_idle(stack: list[str]) -> bool:
    """Whether the loop runs no callback: the innermost frame is the loop's own, waiting for what happens next."""
    return bool(stack) and stack[-1].startswith(("asyncio/runners.py:", "asyncio/base_events.py:", "selectors.py:"))


def _waits_for_cpu(native_thread: int) -> bool:
    """Whether a thread is runnable, as the kernel says (proc(5)): one that computes nothing then has no CPU to compute on."""
    try:
        stat = Path(f"/proc/self/task/{native_thread}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "R"
