"""Metrics for statsd, over UDP: added up in this process, sent every `flush_ms` in as few datagrams as they fit into.

Never in the way: names are resolved beside the hot path, the socket does not block, and what can't be sent is dropped with a count.
Classic statsd has no tags, so their values are part of the name: `taco.api.requests.POST.202` (push_core/metrics/names.py). A gauge ends
with the process's name, so that those of two processes do not overwrite one another.
"""

import asyncio
import math
import os
import random
import socket
from typing import Any, Self

import structlog
from statsd.client.base import StatsClientBase  # type: ignore[import-untyped]
from statsd.client.udp import Pipeline  # type: ignore[import-untyped]

from push_core.metrics.catalogue import Metric
from push_core.metrics.names import folded, folded_name

log = structlog.get_logger(__name__)

RESOLVE_EVERY_S = 60.0  # a statsd that moved is found again
RESOLVE_S = 5.0
SAY_EVERY_S = 60.0
SLICE = 200  # lines made before the loop gets its turn


class StatsdMetrics:
    """Use `open`. At most `size` series; `datagram` bytes each at most; of a series' timings `samples` between two flushes, chosen evenly
    and sent with their rate. `dropped` counts series over the bound, `lost` datagrams that could not be sent."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        prefix: str = "taco",
        flush_ms: int = 1_000,
        size: int = 10_000,
        datagram: int = 1_432,
        samples: int = 64,
    ) -> None:
        self._host = host
        self._port = port
        self._flush_s = flush_ms / 1_000
        self._size = size
        self._samples = samples
        self._wire = _Wire(prefix, datagram)
        self._process = folded(f"{socket.gethostname()}-{os.getpid()}")
        self._names: dict[tuple[Any, ...], str] = {}  # by metric and tags as given
        self._counts: dict[str, int] = {}
        self._gauges: dict[str, float] = {}
        self._timings: dict[str, _Reservoir] = {}
        self._task: asyncio.Task[None] | None = None
        self._resolved_at = -math.inf
        self._said_at = -math.inf
        self._closed = False
        self.dropped = 0

    @classmethod
    async def open(cls, host: str, port: int, **options: Any) -> Self:
        """Needs no server, and no name that resolves."""
        metrics = cls(host, port, **options)
        metrics._task = asyncio.get_running_loop().create_task(metrics._run(), name="metrics.statsd")
        return metrics

    @property
    def lost(self) -> int:
        return self._wire.lost

    def name_process(self, name: str) -> None:
        """What gauges end with from now on."""
        self._process = folded(name)

    def count(self, metric: Metric, n: int = 1, **tags: str) -> None:
        name = self._names.get((metric, *tags.items())) or self._name(metric, tags)
        if name and n:
            self._counts[name] = self._counts.get(name, 0) + n

    def gauge(self, metric: Metric, value: float, **tags: str) -> None:
        name = self._names.get((metric, *tags.items())) or self._name(metric, tags)
        if name and math.isfinite(value):
            self._gauges[name] = value

    def timing(self, metric: Metric, seconds: float, **tags: str) -> None:
        name = self._names.get((metric, *tags.items())) or self._name(metric, tags)
        if name and math.isfinite(seconds):
            reservoir = self._timings.get(name)
            if reservoir is None:
                reservoir = self._timings[name] = _Reservoir()
            reservoir.add(seconds * 1_000, self._samples)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        await self._flush()
        self._wire.close()
        self._names.clear()  # from here on every series is a new one, for which there is no room

    def _name(self, metric: Metric, tags: dict[str, str]) -> str:
        """Makes and keeps the name of a series; "" when there is no room or nobody to send to any more."""
        if self._closed:
            return ""
        if len(self._names) >= self._size:
            self.dropped += 1
            return ""
        name = self._names[metric, *tags.items()] = folded_name(metric, tags)
        return name

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._flush_s)
            try:
                await self._flush()
            except Exception:  # the supervised edge: figures must not end because one could not be written
                log.exception("metrics were not sent")

    async def _flush(self) -> None:
        """Everything since the last time. What can't be sent is gone: the next figures matter more."""
        await self._resolve()
        counts, self._counts = self._counts, {}
        gauges, self._gauges = self._gauges, {}
        timings, self._timings = self._timings, {}
        pipe = self._wire.pipeline()
        lines = 0
        for name, n in list(counts.items()):
            pipe.incr(name, n)
            lines = await self._breathe(lines + 1)
        for name, value in list(gauges.items()):
            pipe.gauge(f"{name}.{self._process}", value)
            lines = await self._breathe(lines + 2)
        for name, reservoir in list(timings.items()):
            for value in reservoir.values:
                pipe.line(name, f"{value:.3f}|ms{reservoir.rate}")
            lines = await self._breathe(lines + len(reservoir.values))
        lost = self._wire.lost
        pipe.send()
        now = asyncio.get_running_loop().time()
        if self._wire.lost > lost and now - self._said_at > SAY_EVERY_S:
            self._said_at = now
            log.warning("metrics were lost on their way to statsd", datagrams=self._wire.lost, reason=self._wire.reason)

    async def _breathe(self, lines: int) -> int:
        if lines < SLICE:
            return lines
        await asyncio.sleep(0)
        return 0

    async def _resolve(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self._resolved_at < RESOLVE_EVERY_S:
            return
        try:
            async with asyncio.timeout(RESOLVE_S):
                found = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
            self._wire.connect(found[0][0], found[0][4])
        except (OSError, TimeoutError) as error:
            self._wire.reason = f"{self._host}: {error or 'not resolved in time'}"
            return  # the last address holds; the next flush asks again
        self._resolved_at = loop.time()


class _Reservoir:
    """An even sample of what was added (Vitter's algorithm R)."""

    __slots__ = ("seen", "values")

    def __init__(self) -> None:
        self.seen = 0
        self.values: list[float] = []

    def add(self, value: float, bound: int) -> None:
        self.seen += 1
        if len(self.values) < bound:
            self.values.append(value)
        elif (place := int(random.random() * self.seen)) < bound:  # noqa: S311 - chooses a sample
            self.values[place] = value

    @property
    def rate(self) -> str:
        return "" if self.seen == len(self.values) else f"|@{len(self.values) / self.seen:.6f}"


class _Lines(Pipeline):  # type: ignore[misc] # the library has no types
    """Gathers lines, sends them in datagrams."""

    def line(self, name: str, value: str) -> None:
        """As `timing`, for values that were sampled already: with a rate of its own the library would throw dice again."""
        self._after(self._prepare(name, value, 1))


class _Wire(StatsClientBase):  # type: ignore[misc] # the library has no types
    """The library's lines on a socket that never blocks and whose losses are counted; its own client resolves names and drops errors where
    it stands. Connected, so that the kernel tells when nobody listens on this machine."""

    def __init__(self, prefix: str, datagram: int) -> None:
        self._prefix = prefix
        self._maxudpsize = datagram
        self._socket: socket.socket | None = None
        self.lost = 0
        self.reason = "no address yet"

    def connect(self, family: int, address: Any) -> None:
        """Raises OSError."""
        fresh = socket.socket(family, socket.SOCK_DGRAM)
        try:
            fresh.setblocking(False)
            fresh.connect(address)
        except OSError:
            fresh.close()
            raise
        self.close()
        self._socket = fresh

    def pipeline(self) -> _Lines:
        return _Lines(self)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, data: str) -> None:
        if self._socket is None:
            self.lost += 1
            return
        try:
            self._socket.send(data.encode("ascii"))
        except OSError as error:
            self.lost += 1
            self.reason = str(error)
