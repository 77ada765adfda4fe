"""A deadline on every call to a neighbour, as the error that the contract knows; and on every request, for next to nothing."""

import asyncio
from collections.abc import Awaitable
from types import TracebackType
from typing import Any, Self, TypeVar

from push_core.errors import DeadlineExceeded

T = TypeVar("T")


async def within(timeout_s: float, what: str, call: Awaitable[T]) -> T:
    """The call's result. Raises DeadlineExceeded, naming `what`, when there is none within `timeout_s` seconds: the outcome is unknown."""
    try:
        async with asyncio.timeout(timeout_s):
            return await call
    except TimeoutError:
        raise DeadlineExceeded(f"{what}: no answer within {timeout_s:g} s") from None


class Deadlines:
    """The time of many tasks, `seconds` for each: `with deadlines.one():` around what must be done in it, TimeoutError when it is not.

    As asyncio.timeout, whose timers (one a request, moved once) took a tenth of what a request costs. All here wait equally long, so they end in the
    order in which they began: one timer, that of the oldest, does for all.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._open: dict[Deadline, float] = {}  # with the loop's time at which each ends, the oldest first
        self._timer: asyncio.TimerHandle | None = None

    def one(self) -> "Deadline":
        """For the task that runs now."""
        return Deadline(self)

    def __len__(self) -> int:
        """Those under way."""
        return len(self._open)

    def _add(self, one: "Deadline") -> None:
        loop = asyncio.get_running_loop()
        ends = self._open[one] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_at(ends, self._look)

    def _remove(self, one: "Deadline") -> None:
        self._open.pop(one, None)

    def _look(self) -> None:
        """At the end of what was the oldest when the timer was set: most often it is over long since."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now = loop.time()
        while self._open:
            one, ends = next(iter(self._open.items()))
            if ends > now:
                self._timer = loop.call_at(ends, self._look)
                return
            del self._open[one]
            one.expire()


class Deadline:
    """One task's time, in a `with` statement of its own."""

    __slots__ = ("_among", "_cancelling", "_expired", "_task")

    def __init__(self, among: Deadlines) -> None:
        self._among = among
        self._expired = False
        self._cancelling = 0
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> Self:
        task = self._task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline is for a task")
        self._cancelling = task.cancelling()
        self._among._add(self)
        return self

    def start_over(self, among: Deadlines) -> None:
        """From now on it has the time of others."""
        if not self._expired:
            self._among._remove(self)
            self._among = among
            among._add(self)

    def expire(self) -> None:
        self._expired = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        task, self._task = self._task, None
        if not self._expired:
            self._among._remove(self)
        elif task is not None and task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error  # nobody else wanted the task to end
