"""One connection to the broker that is kept: hosts in turn, the first by chance; again after a jittered pause, for as long as it takes.

The driver is aiormq, which aio-pika stands on, without aio-pika's "robust" objects: those restore queues and consumers by themselves, and an adapter
that must never have two consumers where it wants one has to know which connection each belongs to.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Any

import structlog
from aiormq.connection import Connection, TransportFactory
from aiormq.exceptions import AMQPError, ConnectionNotAllowed, InvalidFrameError, ProbableAuthenticationError

from push_core.backoff import Backoff
from push_core.errors import Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.queues.amqp_settings import AmqpSettings

log = structlog.get_logger(__name__)
logging.getLogger("aiormq").setLevel(
    logging.CRITICAL
)  # what it would say of a lost connection, with a traceback, is said here

PAUSE_MAX_S = 2.0
"""Longest pause between two attempts: how late the broker's return may be noticed."""
STEADY_S = 5.0
"""A connection that lived so long was a good one: the next loss is a new story."""
READ_BYTES = 1 << 20
BROKEN = (AMQPError, OSError, TimeoutError, RuntimeError, asyncio.CancelledError)
"""What the driver raises when a connection or a channel is gone. CancelledError among them: it cancels the futures of those that wait; whoever
catches it asks first whether the own task was cancelled."""


class _Door(TransportFactory):
    """Opens the socket, and keeps its writer: to write without a task in between, and to end a connection at once."""

    def __init__(self, settings: AmqpSettings) -> None:
        self._tls = settings.tls
        self.writer: asyncio.StreamWriter | None = None

    async def create(self, url: Any, **_: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, self.writer = await asyncio.open_connection(url.host, url.port, ssl=self._tls, limit=READ_BYTES)
        return reader, self.writer


class Wire:
    """An open connection."""

    def __init__(self, connection: Connection, writer: asyncio.StreamWriter, place: str) -> None:
        self.connection = connection
        self.place = place
        self._writer = writer
        self._gone = asyncio.get_running_loop().create_future()

    def write(self, frames: bytes) -> None:
        """Whole frames; what the socket does not take now is kept. Bounded by its callers, who wait for answers."""
        if not self._writer.is_closing():  # those that wait for answers are told of the loss
            self._writer.write(frames)

    @property
    def alive(self) -> bool:
        return self.connection.is_opened and not self._writer.is_closing()

    async def unblocked(self) -> None:
        """Returns when the broker takes publishes: one that lacks memory or disk says so (connection.blocked)."""
        await self.connection.ready()

    async def lost(self) -> None:
        """Returns when the connection is gone."""
        if not self.connection.is_closed and not self._gone.done():
            await asyncio.wait({self.connection.closing, self._gone}, return_when=asyncio.FIRST_COMPLETED)

    def abort(self) -> None:
        """End it at once, whatever the broker does: what was not sent is not sent, and nothing more arrives."""
        self._writer.transport.abort()
        if not self._gone.done():
            self._gone.set_result(None)

    async def close(self, timeout_s: float) -> None:
        try:
            async with asyncio.timeout(timeout_s):
                await self.connection.close()
        except BROKEN:
            if cancelled():
                raise
        finally:
            self.abort()
            # The driver's own tasks end with the socket; nobody should find them running afterwards.
            if not self.connection.is_closed:
                await asyncio.wait({self.connection.closing}, timeout=timeout_s)


class Link:
    """`use` tells connections apart, in the broker's list and in logs. `on_up` is called with each new connection."""

    def __init__(
        self, settings: AmqpSettings, use: str, metrics: Metrics | None, on_up: Callable[[Wire], None] | None = None
    ) -> None:
        self._settings = settings
        self._use = use
        self._metrics = metrics
        self._on_up = on_up
        self._hosts = random.sample(settings.hosts, len(settings.hosts))
        self._wire: Wire | None = None
        self._up = asyncio.Event()
        self._reason = "not connected yet"
        self._down_since = time.monotonic()
        self._told = ""
        self._closed = False
        self._task = asyncio.get_running_loop().create_task(self._keep(), name=f"amqp.{use}")

    @property
    def place(self) -> str:
        return self._settings.place

    async def wire(self, timeout_s: float) -> Wire:
        """The connection, waited for. Raises Unavailable with the reason; at once when it has been gone for longer than `timeout_s`, so that an
        outage does not make everybody wait each time."""
        wire = self._wire
        if wire is not None:
            return wire
        left = timeout_s - (time.monotonic() - self._down_since)
        if left > 0 and not self._closed:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._up.wait()
        if self._wire is None:
            raise self.down()
        return self._wire

    async def up(self) -> Wire:
        """The connection, waited for as long as it takes."""
        while self._wire is None:
            await self._up.wait()
        return self._wire

    def down(self) -> Unavailable:
        if self._closed:
            return Unavailable("the queues are closed")
        return Unavailable(f"the broker {self.place} can't be reached: {self._reason}")

    def drop(self, wire: Wire, reason: str) -> None:
        """Give this connection up: it does not do what it should. A later one is left alone."""
        if self._wire is wire:
            self._lose(reason)
        wire.abort()

    async def close(self) -> None:
        self._closed = True
        self._task.cancel()
        await asyncio.wait({self._task})
        wire, self._wire = self._wire, None
        self._up.set()  # who waits is told
        if wire is not None:
            await wire.close(min(self._settings.timeout_s, 1.0))

    async def _keep(self) -> None:
        backoff = Backoff(base_s=0.1, max_s=PAUSE_MAX_S)
        while True:
            wire = await self._connect()
            if wire is not None:
                began = time.monotonic()
                self._have(wire)
                try:
                    await wire.lost()
                finally:
                    wire.abort()
                self._lose("the connection was lost")
                if time.monotonic() - began > STEADY_S:
                    backoff.reset()
            await asyncio.sleep(backoff.next_s())

    async def _connect(self) -> Wire | None:
        for _ in self._hosts:
            host, port = self._hosts[0]
            self._hosts.append(self._hosts.pop(0))  # the next attempt is another's turn
            wire = await self._try(host, port)
            if wire is not None:
                return wire
        return None

    async def _try(self, host: str, port: int) -> Wire | None:
        door = _Door(self._settings)
        place = f"{host}:{port}"
        connection = Connection(
            self._settings.url(host, port, f"taco {self._use}"), transport_factory=door, context=self._settings.tls
        )
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                await connection.connect()
        except BROKEN as error:
            if door.writer is not None:
                door.writer.transport.abort()
            if cancelled():
                raise
            self._reason = f"{place}: {reason_of(error, self._settings)}"
            self._count("refused")
            if self._told != self._reason:
                self._told = self._reason
                log.warning("broker can't be reached", use=self._use, broker=self.place, reason=self._reason)
            return None
        assert door.writer is not None
        return Wire(connection, door.writer, place)

    def _have(self, wire: Wire) -> None:
        self._wire = wire
        self._up.set()
        self._count("connected")
        if self._told:
            self._told = ""
            down_s = round(time.monotonic() - self._down_since, 1)
            log.info("broker is reached again", use=self._use, broker=wire.place, after_s=down_s)
        if self._on_up is not None:
            self._on_up(wire)

    def _lose(self, reason: str) -> None:
        if self._wire is None:
            return
        self._wire = None
        self._up.clear()
        self._down_since = time.monotonic()
        self._reason = self._told = reason
        self._count("lost")
        log.warning("broker connection lost", use=self._use, broker=self.place, reason=reason)

    def _count(self, outcome: str) -> None:
        if self._metrics is not None:
            self._metrics.count(Metric.QUEUES_CONNECTIONS, use=self._use, outcome=outcome)


def reason_of(error: BaseException, settings: AmqpSettings) -> str:
    """For people; no password."""
    if isinstance(error, TimeoutError):
        return f"no answer within {settings.timeout_s:g} s"
    if isinstance(error, ProbableAuthenticationError):
        return f"user {settings.user!r} was refused: wrong name or password"
    if isinstance(error, ConnectionNotAllowed) or (isinstance(error, InvalidFrameError) and "OpenOk" in str(error)):
        return f"vhost {settings.vhost!r} is not there, or user {settings.user!r} may not use it"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def cancelled() -> bool:
    """Whether the task that runs was cancelled itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
