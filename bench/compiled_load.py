"""The load of an end-to-end run from the compiled client: the same work and the same books as `load.Load`, for a fraction of its CPU.

The client keeps its books in two files, what callers were told and what devices saw; they are read when the work is over.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

from bench.client.process import LoadClient, Record, records
from bench.lean_http import LeanHttp
from bench.load import SIGN_INS_AT_ONCE, Log
from ops.tokens import mint
from push_core.clock import wall_ms

LOOK_S = 0.1


class CompiledLoad:
    """One app's devices and callers, as `load.Load`. To be entered before it is used."""

    def __init__(
        self,
        *,
        apis: Sequence[str],
        key: str,
        gateways: Sequence[str],
        app: str,
        device_secret: str,
        devices: int,
        connections: int,
        prefix: str = "device",
    ) -> None:
        self.log = Log()
        self.http = LeanHttp(apis[0], key)
        self.lag_p99_ms: float | None = None
        self.names = [f"{prefix}-{number}" for number in range(devices)]
        self._apis, self._key, self._gateways = list(apis), key, list(gateways)
        self._app, self._secret, self._connections = app, device_secret, connections
        self._newest = 0
        self._starting = LoadClient.start()

    async def __aenter__(self) -> Self:
        self._client = await self._starting.__aenter__()
        self._client.on_accepted = self._on_accepted
        self._folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="taco-load-"))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._starting.__aexit__(kind, error, traceback)
        finally:
            await self.http.close()
            await asyncio.to_thread(shutil.rmtree, self._folder)

    @property
    def pids(self) -> list[int]:
        """Whose CPU is the load's, besides that of this process."""
        return [self._client.pid]

    def newest(self) -> int:
        """The newest accepted id, a tenth of a second old at most; 0 before the first."""
        return self._newest

    async def sign_in(self) -> None:
        """Raises ConnectionError if one could not."""
        now_s = wall_ms() // 1_000
        devices = [(self._app, name, mint(self._app, name, self._secret, now_s=now_s)) for name in self.names]
        entered = await self._client.sign_in(devices, self._gateways, at_once=SIGN_INS_AT_ONCE)
        if entered.failed:
            raise ConnectionError(f"{entered.failed} devices could not sign in; the first: {entered.why}")
        await self.start_over()

    async def start_over(self) -> None:
        """Forget what was noted so far; devices stay connected."""
        self.log = Log()
        self._newest = 0
        self._seen, self._accepted = _Book(self._folder / "seen"), _Book(self._folder / "accepted")
        self._came_to: dict[int, int] = {}
        await self._client.log(seen=self._seen.path, accepted=self._accepted.path)
        await self._client.start_over()

    async def offer(self, *, rate: float, seconds: float, batch: int, seed: int = 1) -> tuple[float, float]:
        """Send on schedule; the window (begin, end) in monotonic time. Answers are awaited in `settle`."""
        window = await self._client.offer(
            self._apis, self._key, rate=rate, seconds=seconds, batch=batch, connections=self._connections, seed=seed
        )
        self.lag_p99_ms = (await self._client.counters()).lag.p99_ms
        return window

    async def settle(self, timeout_s: float) -> bool:
        """Wait until all callers have their answers and all that was accepted has come; whether it did in time."""
        until = monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._client.answered()
        except TimeoutError:
            return False
        while monotonic() < until:
            counters = await self._client.counters()
            if counters.shown >= counters.accepted and (not counters.unanswered or await self._all_came()):
                return True
            await asyncio.sleep(LOOK_S)
        return False

    async def _all_came(self) -> bool:
        """What had no answer may have come too, so that counts alone say nothing. Costs this process its time, so it is asked only then."""
        log = await self.book()
        return all(message_id in log.received for message_id in log.due)

    async def book(self) -> Log:
        """What was noted until now."""
        await self._client.flush()
        counters = await self._client.counters()
        log = self.log
        log.offered, log.unanswered = counters.offered, counters.unanswered
        log.refused.clear()
        log.refused.update(counters.refused)
        for record in await asyncio.to_thread(lambda: list(self._accepted.news())):
            log.due[record.id] = record.ns / 1e9
            log.target[record.id] = self.names[record.device]
        for record in await asyncio.to_thread(lambda: list(self._seen.news())):
            log.received.setdefault(record.id, record.ns / 1e9)
            log.frames[record.id] += 1
            log.shown[record.id] += record.is_new
            self._came_to[record.id] = record.device
        log.astray = sum(
            self.names[self._came_to[message_id]] != device
            for message_id, device in log.target.items()
            if message_id in self._came_to
        )
        return log

    def _on_accepted(self, message_id: int, due_ns: int) -> None:
        del due_ns
        self._newest = message_id


class _Book:
    """A file of the client's and how far it was read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0

    def news(self) -> Iterator[Record]:
        for record in records(self.path, after=self._read):
            self._read += 1
            yield record
