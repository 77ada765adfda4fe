"""How late the load client itself was: a run in which the client could not keep up says nothing about what it measured."""

import asyncio
from time import monotonic


class Lag:
    """Measures how much later than asked the event loop comes to a timer, each `every_s` seconds, between `start` and `stop`."""

    def __init__(self, every_s: float = 0.005) -> None:
        self._every_s = every_s
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.late_s: list[float] = []

    def start(self) -> None:
        self._arm()

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        self._due = monotonic() + self._every_s
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._tick)

    def _tick(self) -> None:
        self.late_s.append(max(0.0, monotonic() - self._due))
        self._arm()
