"""A clock that stands still until it is moved by hand."""

from push_core.clock import Clock


class HandClock:
    def __init__(self, wall_ms: int = 1_790_000_000_000, monotonic: float = 1_000.0) -> None:
        self.wall = wall_ms
        self.mono = monotonic

    def wall_ms(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.mono

    def advance(self, seconds: float) -> None:
        self.mono += seconds
        self.wall += round(seconds * 1_000)

    async def pass_time(self, seconds: float) -> None:
        """`advance` in the form that contract tests ask for: a real store would have to be waited for."""
        self.advance(seconds)

    def clock(self) -> Clock:
        return Clock(self.wall_ms, self.monotonic)
