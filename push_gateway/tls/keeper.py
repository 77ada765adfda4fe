"""Which certificate new handshakes get. Looks at the files now and then, and at once when told; sessions keep the one they began with.

Files that make no sense, or a certificate that no client would take, change nothing: what was there goes on, a sentence is logged, and
`gateway.tls.refused` stands at 1 until it is corrected.
"""

import asyncio
import ssl
from datetime import UTC, datetime

import structlog

from push_core.clock import Clock
from push_core.errors import ConfigError
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_gateway.tls.certificates import Files, Loaded, Mark, load

log = structlog.get_logger(__name__)


class Keeper:
    """`context` is for new handshakes. Raises ConfigError when the files make no sense at the start; one that has expired is used, since a
    gateway that doesn't start serves nobody either."""

    def __init__(self, files: Files, metrics: Metrics, clock: Clock, *, every_s: float) -> None:
        self._files = files
        self._metrics = metrics
        self._clock = clock
        self._every_s = every_s
        self._told = asyncio.Event()
        self._current = load(files)
        self._seen: Mark = self._current.mark
        self._refused = False
        if problem := self._current.problem(self._now()):
            log.error("the certificate is not good", file=str(files.cert), reason=problem)
        self._tell()

    @property
    def context(self) -> ssl.SSLContext:
        return self._current.context

    @property
    def expires(self) -> datetime:
        return self._current.expires

    def reload(self) -> None:
        """Look at once, even if nothing seems to have changed."""
        self._told.set()

    async def look(self) -> None:
        """Waits for its turn, looks once."""
        try:
            async with asyncio.timeout(self._every_s):
                await self._told.wait()
        except TimeoutError:
            pass
        told = self._told.is_set()
        self._told.clear()
        # In a thread: the files may be on a network's disk, and keys take milliseconds.
        mark = await asyncio.to_thread(self._files.mark)
        if told or mark != self._seen:
            self._seen = mark
            await self._change()
        self._tell()

    async def _change(self) -> None:
        try:
            loaded = await asyncio.to_thread(load, self._files)
            if problem := loaded.problem(self._now()):
                raise ConfigError(f"[gateway] tls_cert: {self._files.cert} is not good: {problem}")
        except ConfigError as error:
            self._refused = True
            self._metrics.count(Metric.GW_TLS_RELOADS, outcome="refused")
            log.error(  # noqa: TRY400 - the sentence says it all
                "the new certificate is refused; the one before goes on", reason=str(error), until=str(self.expires)
            )
        else:
            self._use(loaded)

    def _use(self, loaded: Loaded) -> None:
        self._current, self._refused = loaded, False
        self._metrics.count(Metric.GW_TLS_RELOADS, outcome="taken")
        log.info("new handshakes get the new certificate", file=str(self._files.cert), expires=str(loaded.expires))

    def _tell(self) -> None:
        left_s = (self.expires - self._now()).total_seconds()
        self._metrics.gauge(Metric.GW_TLS_EXPIRES, left_s)
        self._metrics.gauge(Metric.GW_TLS_REFUSED, float(self._refused))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.wall_ms() / 1_000, UTC)
