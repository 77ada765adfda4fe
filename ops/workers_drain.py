"""Emptying the workers of one `taco gateway --workers N` together: what their parent's admin port passes on to theirs."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ops.admin.client import ask
from ops.admin.drain import PATH, UNDO, order_of, stop_this_process
from ops.admin.server import Page
from push_core.errors import TacoError

ASK_S = 3.0
LOOK_S = 0.2
_SUMS = ("sessions", "connections", "left", "asked", "closed")


class WorkersDrain:
    """`ports`: the admin ports of the workers that serve at the moment, by name."""

    def __init__(
        self,
        name: str,
        host: str,
        key: str,
        ports: Callable[[], Mapping[str, int]],
        stop: Callable[[], None] = stop_this_process,
    ) -> None:
        self._name = name
        self._host = host
        self._key = key
        self._ports = ports
        self._stop = stop
        self._stopping: asyncio.Task[None] | None = None

    @property
    def pages(self) -> Mapping[str, Page]:
        return {PATH: self._progress}

    @property
    def actions(self) -> Mapping[str, Page]:
        return {PATH: self._begin, UNDO: self._undo}

    async def _progress(self, _: Mapping[str, str]) -> Any:
        return together(self._name, await self._all("GET", PATH, {}))

    async def _begin(self, query: Mapping[str, str]) -> Any:
        order = order_of(query)  # what makes no sense is told by us, not by each of them
        passed_on = {name: value for name, value in query.items() if name != "stop"}
        if "rate" in order:
            passed_on["rate"] = str(max(1, order["rate"] // max(1, len(self._ports()))))
        said = together(self._name, await self._all("POST", PATH, passed_on))
        if query.get("stop") == "true" and self._stopping is None:
            self._stopping = asyncio.create_task(self._stop_when_empty(), name="workers.drain.stop")
        return said

    async def _undo(self, query: Mapping[str, str]) -> Any:
        if self._stopping is not None:
            self._stopping.cancel()
            self._stopping = None
        return together(self._name, await self._all("POST", UNDO, query))

    async def _stop_when_empty(self) -> None:
        while (await self._progress({}))["phase"] != "empty":  # noqa: ASYNC110 - once in a life
            await asyncio.sleep(LOOK_S)
        self._stop()

    async def _all(self, method: str, path: str, query: Mapping[str, str]) -> list[Mapping[str, Any]]:
        """What those said that answered; one between two lives begins anew."""
        asked = [self._one(port, method, path, query) for port in self._ports().values()]
        return [said for said in await asyncio.gather(*asked) if said is not None]

    async def _one(self, port: int, method: str, path: str, query: Mapping[str, str]) -> Mapping[str, Any] | None:
        try:
            async with asyncio.timeout(ASK_S):
                status, said = await ask(self._host, port, path, method=method, query=query, key=self._key)
        except (TimeoutError, TacoError):
            return None
        return said if status == 200 and isinstance(said, Mapping) else None


def together(name: str, workers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One progress of those of all workers; it is over when all are.

    >>> moving, empty = {"phase": "moving", "sessions": 3, "seconds": 2.0, "rate": 5}, {"phase": "empty", "sessions": 0}
    >>> found = together("gw", [moving, empty])
    >>> found["phase"], found["sessions"], found["rate"]
    ('moving', 3, 5)
    """
    phases = {str(worker.get("phase")) for worker in workers}
    phase = next((each for each in ("moving", "serving") if each in phases), "empty" if phases else "serving")
    found: dict[str, Any] = {"node": name, "phase": phase}
    for flag in ("by_hand", "by_switch"):
        found[flag] = any(worker.get(flag) for worker in workers)
    for field in _SUMS:
        found[field] = sum(worker.get(field, 0) for worker in workers)
    found["seconds"] = max((worker.get("seconds", 0.0) for worker in workers), default=0.0)
    found["rate"] = sum(worker.get("rate", 0) for worker in workers)
    return found
