"""Whether this process can accept messages now: what /readyz and the gRPC health service say.

Ready means: started and not stopping, the message and device stores answer, an issuer number is held, this zone owns shards. A queue or presence that is down does
not count: messages are accepted all the same. Answers are kept for a moment and shared, so that asking
often costs the stores nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

from push_api.deadlines import within
from push_api.issuing import Issuing
from push_core.clock import Clock, Monotonic
from push_core.errors import TacoError, Unavailable


class Readiness:
    """`pings` are the neighbours by name; `keep_s` how long an answer is good for, `timeout_s` the time each has to answer."""

    def __init__(
        self,
        issuing: Issuing,
        pings: Mapping[str, Callable[[], Awaitable[None]]],
        clock: Clock,
        *,
        shards: Callable[[], Sequence[int]],
        keep_s: float,
        timeout_s: float,
    ) -> None:
        self._issuing = issuing
        self._pings = pings
        self._clock = clock
        self._shards = shards
        self._keep_s = keep_s
        self._timeout_s = timeout_s
        self._found: list[str] = []
        self._until: Monotonic = float("-inf")
        self._asking: asyncio.Task[None] | None = None
        self.serving = False

    async def check(self) -> None:
        """Returns when ready. Raises Unavailable saying what is missing."""
        if not self.serving:
            raise Unavailable("not ready: starting or stopping")
        if self._clock.monotonic() >= self._until:
            if self._asking is None:
                self._asking = asyncio.get_running_loop().create_task(self._ask(), name="api.readiness")
                self._asking.add_done_callback(self._asked)
            await asyncio.wait({self._asking})
        missing = list(self._found)
        if not self._issuing.held:
            missing.append("no issuer number is held")
        if not self._shards():
            missing.append("this zone owns no shard")
        if missing:
            raise Unavailable(f"not ready: {'; '.join(missing)}")

    async def close(self) -> None:
        self.serving = False
        if self._asking is not None:
            await asyncio.wait({self._asking})

    async def _ask(self) -> None:
        began = self._clock.monotonic()
        answers = await asyncio.gather(*(self._ping(name, ping) for name, ping in self._pings.items()))
        self._found = [answer for answer in answers if answer]
        self._until = began + self._keep_s

    def _asked(self, _: "asyncio.Task[None]") -> None:
        self._asking = None

    async def _ping(self, name: str, ping: Callable[[], Awaitable[None]]) -> str:
        try:
            await within(self._timeout_s, name, ping())
        except TacoError as error:
            return f"{name} does not answer ({error.message})"
        return ""
