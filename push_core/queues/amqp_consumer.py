"""A consumer of the AMQP adapter: takes from several queues by weight through one connection of its own.

The connection is its own so that a rebuild closes for sure what was there before: never two consumers of one consumer. Whatever happens to it, `take` goes
on waiting; tags of a channel that is gone are left alone, since the broker hands those bodies out again.
"""

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import structlog
from aiormq.exceptions import ChannelClosed

from push_core.backoff import Backoff
from push_core.clock import WallMs
from push_core.errors import Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.queues.amqp_channel import ConsumeChannel, Content
from push_core.queues.amqp_control import Ground, close_channel
from push_core.queues.amqp_link import BROKEN, PAUSE_MAX_S, STEADY_S, Link, Wire, cancelled, reason_of
from push_core.queues.amqp_settings import AmqpSettings
from push_core.queues.amqp_source import BUSY_AFTER, AmqpSource, Held
from push_core.queues.port import ConsumerClosed, Source, Taken
from push_core.queues.round_robin import leader, play

log = structlog.get_logger(__name__)

IDLE_S = 1.0
"""What was sent ahead and nobody has taken for so long goes back: another program may have time for it."""
WATCH_EVERY_S = 5.0
"""How often silent queues are asked whether they really have nothing."""


class AmqpConsumer:
    def __init__(
        self,
        sources: Sequence[Source],
        settings: AmqpSettings,
        ground: Ground,
        metrics: Metrics | None,
        wall_ms: Callable[[], WallMs],
        on_closed: "Callable[[AmqpConsumer], None]",
    ) -> None:
        if len({source.queue for source in sources}) != len(sources):
            raise ValueError("a queue is named twice among the sources")
        self._sources = [AmqpSource(source, settings.name(source.queue)) for source in sources]
        self._settings = settings
        self._ground = ground
        self._metrics = metrics
        self._wall_ms = wall_ms
        self._on_closed = on_closed
        self._tags = itertools.count(1)
        self._names = itertools.count(1)
        self._unsettled: dict[int, Held] = {}
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._asks: deque[AmqpSource] = deque()
        self._by_tag: dict[str, AmqpSource] = {}
        self._channel: ConsumeChannel | None = None
        self._life = 0
        self._taken_at = 0.0
        self._idle: asyncio.TimerHandle | None = None
        self._closed = False
        self._link = Link(settings, "take", metrics)
        loop = self._loop = asyncio.get_running_loop()
        self._tasks = {
            loop.create_task(self._keep(), name="amqp.consumer"),
            loop.create_task(self._watch(), name="amqp.watch"),
        }

    # ── the port ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def take(self) -> Taken:
        while True:
            if self._closed:
                raise ConsumerClosed
            held = self._next()
            if held is not None:
                return self._hand_out(held)
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)
                self._wake()  # it may have been woken for something that it will not take now
                raise

    def take_more(self, limit: int) -> list[Taken]:
        found: list[Taken] = []
        while len(found) < limit and not self._closed:
            playing = [source for source in self._sources if source.open]
            first = leader(playing)
            if first is None or not first.buffer:
                break
            play(playing, first)
            found.append(self._hand_out(first.buffer.popleft()))
        return found

    async def ack(self, tags: Sequence[int]) -> None:
        settled = self._settle(tags)
        if settled and self._channel is not None:
            self._channel.ack([held.delivery_tag for held in settled])
        self._wake()

    async def give_back(self, tags: Sequence[int]) -> None:
        """They stay here, where their tries are known, at the front; when nobody takes them they go back to the broker with what else is idle."""
        for held in reversed(self._settle(sorted(tags))):
            held.redelivered = True
            held.tries += 1
            held.source.buffer.appendleft(held)
        self._after_arrival()

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._idle is not None:
            self._idle.cancel()
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.flush()
            await close_channel(channel, self._settings.timeout_s)  # the broker takes back what it had sent
        await self._link.close()
        self._void()
        self._on_closed(self)

    # ── taking ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _next(self) -> Held | None:
        playing = [source for source in self._sources if source.open]
        first = leader(playing)
        if first is None:
            return None
        if first.buffer:
            play(playing, first)
            return first.buffer.popleft()
        if self._channel is not None and first.asked <= len(self._waiters):  # one question for each take that waits
            first.asked += 1
            self._asks.append(first)
            self._channel.ask(first.name)
        return None

    def _hand_out(self, held: Held) -> Taken:
        held.source.unsettled += 1
        tag = next(self._tags)
        self._unsettled[tag] = held
        self._taken_at = self._loop.time()
        if self._waiters:
            self._wake()  # what this take was woken for may be another body than the one it took
        return held.taken(tag, self._wall_ms())

    def _settle(self, tags: Sequence[int]) -> list[Held]:
        """Those of them that are unsettled and on this channel."""
        settled = []
        for tag in tags:
            held = self._unsettled.pop(tag, None)
            if held is not None and held.life == self._life and self._channel is not None:
                held.source.unsettled -= 1
                settled.append(held)
        return settled

    def _wake(self) -> None:
        """Wake one take that waits, if there may be something for it. It wakes the next when it was too many: none."""
        if not any(source.open for source in self._sources):
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    # ── what arrives (called by the channel) ─────────────────────────────────────────────────────────────────────────

    def delivered(self, consumer_tag: str, content: Content) -> None:
        source = self._by_tag.get(consumer_tag)
        if source is None:  # sent before the broker knew that we unsubscribed
            if self._channel is not None:
                self._channel.put_back([content.method.delivery_tag])
            return
        source.heard_at = self._loop.time()
        source.keep(content, self._life, self._wall_ms())
        self._after_arrival()

    def got(self, content: Content | None) -> None:
        if not self._asks:
            return
        source = self._asks.popleft()
        source.asked -= 1
        if content is not None:
            source.keep(content, self._life, self._wall_ms())
            source.found += 1
        if content is None or content.method.message_count == 0 or source.found >= BUSY_AFTER:
            self._subscribe(source)
        self._after_arrival()

    def ended(self, consumer_tag: str) -> None:
        source = self._by_tag.pop(consumer_tag, None)
        if source is not None:
            source.consumer_tag = ""
            self._start(self._make_again(source), "amqp.make_again")

    def _after_arrival(self) -> None:
        self._wake()
        if self._idle is None and not self._waiters:
            self._idle = self._loop.call_later(IDLE_S, self._check_idle)

    # ── more from the broker ─────────────────────────────────────────────────────────────────────────────────────────

    def _subscribe(self, source: AmqpSource) -> None:
        source.looking = False
        source.found = 0
        if not source.consumer_tag:
            source.consumer_tag = f"taco-{self._life}-{next(self._names)}"
            self._by_tag[source.consumer_tag] = source
            self._start(self._subscribe_to(source, source.consumer_tag), "amqp.subscribe")

    async def _subscribe_to(self, source: AmqpSource, consumer_tag: str) -> None:
        channel = self._channel
        if channel is None:
            return
        prefetch = min(source.prefetch, self._settings.prefetch)
        try:
            await channel.subscribe(source.name, consumer_tag, prefetch, self._settings.timeout_s)
        except BROKEN as error:
            if cancelled():
                raise
            self._link.drop(channel.wire, f"no subscription to {source.queue}: {reason_of(error, self._settings)}")
            return
        if self._by_tag.get(consumer_tag) is source:
            source.heard_at = self._loop.time()
        elif self._channel is channel:
            # It was given up while it came about: what it brings would be put back and sent again without end.
            channel.unsubscribe(consumer_tag)

    def _check_idle(self) -> None:
        """Give back what nobody takes, and look again with the next take."""
        self._idle = None
        if self._closed or self._channel is None or not any(source.buffer for source in self._sources):
            return
        wait_s = self._taken_at + IDLE_S - self._loop.time()
        if self._waiters or wait_s > 0:
            self._idle = self._loop.call_later(max(wait_s, 0.05), self._check_idle)
            return
        tags: list[int] = []
        for source in self._sources:
            if source.buffer:
                self._unsubscribe(source)
                tags += [held.delivery_tag for held in source.buffer]
                source.buffer.clear()
                source.looking = True
        self._channel.put_back(sorted(tags))

    def _unsubscribe(self, source: AmqpSource) -> None:
        if source.consumer_tag and self._channel is not None:
            self._by_tag.pop(source.consumer_tag, None)
            self._channel.unsubscribe(source.consumer_tag)
            source.consumer_tag = ""

    async def _make_again(self, source: AmqpSource) -> None:
        channel = self._channel
        if channel is None:
            return
        try:
            await self._ground.declare(channel.wire, source.queue)
        except Unavailable as error:
            self._link.drop(channel.wire, error.message)
            return
        if self._channel is channel:
            source.looking = True
            self._wake()

    # ── the connection ───────────────────────────────────────────────────────────────────────────────────────────────

    async def _keep(self) -> None:
        pause = Backoff(base_s=0.05, max_s=PAUSE_MAX_S)
        while True:
            wire = await self._link.up()
            began = time.monotonic()
            channel = await self._build(wire)
            if channel is not None:
                try:
                    await asyncio.wait({channel.closing})
                finally:
                    self._void()
                log.warning("consumer lost its channel", broker=wire.place)
                if time.monotonic() - began > STEADY_S:
                    pause.reset()
            await asyncio.sleep(pause.next_s())

    async def _build(self, wire: Wire) -> ConsumeChannel | None:
        try:
            for source in self._sources:
                await self._ground.declare(wire, source.queue)
            channel = await ConsumeChannel.open_on(wire, self, self._settings.timeout_s)
        except Unavailable as error:
            self._link.drop(wire, error.message)
            return None
        except BROKEN as error:
            if cancelled():
                raise
            self._link.drop(wire, f"no channel: {reason_of(error, self._settings)}")
            return None
        self._channel = channel
        self._life += 1
        for source in self._sources:
            source.looking = True
        for _ in range(len(self._waiters)):
            self._wake()
        return channel

    def _void(self) -> None:
        """The channel is gone, and with it what it had brought."""
        self._channel = None
        self._asks.clear()
        self._by_tag.clear()
        for source in self._sources:
            source.void()

    async def _watch(self) -> None:
        """A broker may say nothing although its queues are full, and a dead peer says nothing either: both are found by asking."""
        suspects: set[tuple[int, str]] = set()
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            channel = self._channel
            if channel is None:
                continue
            until = self._loop.time() - WATCH_EVERY_S
            silent = [source for source in self._sources if source.asked or (source.waits and source.heard_at < until)]
            try:
                full = {
                    (self._life, one.queue)
                    for one in silent
                    if await self._ground.count(channel.wire, one.queue) and one.waits
                }
            except (Unavailable, ChannelClosed) as error:
                self._rebuild(channel, str(error))
                continue
            if full & suspects:  # twice in a row, so that a body on its way is no suspect
                self._rebuild(channel, f"queue {next(iter(full & suspects))[1]} has bodies and sends none")
                full = set()
            suspects = full

    def _rebuild(self, channel: ConsumeChannel, reason: str) -> None:
        if self._metrics is not None:
            self._metrics.count(Metric.QUEUES_REBUILT)
        self._link.drop(channel.wire, reason)

    def _start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = self._loop.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
