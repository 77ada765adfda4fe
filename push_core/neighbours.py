"""Whether the stores that a program leans on answer: what its /readyz says. Asked with a bound, together, and not more often than a moment apart,
so that probes cost the stores nothing. What an answer means for the program is the program's to say.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from push_core.clock import Monotonic
from push_core.errors import TacoError


class Neighbours:
    """`pings` are the neighbours by name; `keep_s` how long an answer is good for, `timeout_s` the time each has to answer."""

    def __init__(
        self,
        pings: Mapping[str, Callable[[], Awaitable[None]]],
        monotonic: Callable[[], Monotonic],
        *,
        keep_s: float,
        timeout_s: float,
    ) -> None:
        self._pings = pings
        self._monotonic = monotonic
        self._keep_s = keep_s
        self._timeout_s = timeout_s
        self._found: list[str] = []
        self._until: Monotonic = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    async def missing(self) -> list[str]:
        """A line for each neighbour that does not answer; all who ask at a time share one round."""
        if self._monotonic() >= self._until:
            if self._asking is None:
                self._asking = asyncio.get_running_loop().create_task(self._ask(), name="neighbours.ask")
                self._asking.add_done_callback(self._asked)
            await asyncio.wait({self._asking})
        return list(self._found)

    async def close(self) -> None:
        if self._asking is not None:
            await asyncio.wait({self._asking})

    async def _ask(self) -> None:
        began = self._monotonic()
        answers = await asyncio.gather(*(self._ping(name, ping) for name, ping in self._pings.items()))
        self._found = [answer for answer in answers if answer]
        self._until = began + self._keep_s

    def _asked(self, _: "asyncio.Task[None]") -> None:
        self._asking = None

    async def _ping(self, name: str, ping: Callable[[], Awaitable[None]]) -> str:
        try:
            async with asyncio.timeout(self._timeout_s):
                await ping()
        except TimeoutError:
            return f"{name} does not answer (no answer within {self._timeout_s:g} s)"
        except TacoError as error:
            return f"{name} does not answer ({error.message})"
        return ""
