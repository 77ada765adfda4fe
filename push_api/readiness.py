"""Whether this process can accept messages now: what /readyz and the gRPC health service say.

Ready means: started and not stopping, the message and device stores answer, an issuer number is held, this zone owns shards. A queue or presence that is down does
not count: messages are accepted all the same. Answers are kept for a moment and shared, so that asking
often costs the stores nothing.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from push_api.issuing import Issuing
from push_core.clock import Clock
from push_core.errors import Unavailable
from push_core.neighbours import Neighbours


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
        self._neighbours = Neighbours(pings, clock.monotonic, keep_s=keep_s, timeout_s=timeout_s)
        self._shards = shards
        self.serving = False

    async def check(self) -> None:
        """Returns when ready. Raises Unavailable saying what is missing."""
        if missing := await self.missing():
            raise Unavailable(f"not ready: {'; '.join(missing)}")

    async def missing(self) -> list[str]:
        """Why messages can't be accepted now, a line each; empty when they can."""
        if not self.serving:
            return ["starting or stopping"]
        missing = await self._neighbours.missing()
        if not self._issuing.held:
            missing.append("no issuer number is held")
        if not self._shards():
            missing.append("this zone owns no shard")
        return missing

    async def close(self) -> None:
        self.serving = False
        await self._neighbours.close()
