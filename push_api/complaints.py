"""Log lines about failed requests, one a second for each code: with a store away every request fails, and the log must not become the load."""

import structlog

from push_core.clock import Clock, Monotonic
from push_core.errors import Grade, TacoError

log = structlog.get_logger(__name__)

_EVERY_S = 1.0


class Complaints:
    """Shared by the doors. Errors of callers are not logged: they raise no alarm, and counters have them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._said: dict[str, Monotonic] = {}
        self._unsaid: dict[str, int] = {}

    def say(self, error: TacoError, method: str, traceparent: str) -> None:
        if error.grade is Grade.USER:
            return
        now = self._clock.monotonic()
        if now < self._said.get(error.code, float("-inf")) + _EVERY_S:
            self._unsaid[error.code] = self._unsaid.get(error.code, 0) + 1
            return
        self._said[error.code] = now
        log.warning(
            "request failed",
            method=method,
            code=error.code,
            reason=error.message,
            traceparent=traceparent,
            like_it=self._unsaid.pop(error.code, 0),
        )
