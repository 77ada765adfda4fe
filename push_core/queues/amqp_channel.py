"""Channels that hand frames on as they arrive, and write batches of them at once.

aiormq gives each published body a lock, two futures and a wait of its own, and each delivered one a task. These are its channels with the hot frames
(deliveries, confirms) taken out before its queue, and sent ones written in one piece: a fifth of the cost on our side, half on the
broker's (bench/queues.py). Encoding and decoding stay the library's.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel
from pamqp import commands as spec
from pamqp import frame as wire_format
from pamqp.body import ContentBody
from pamqp.header import ContentHeader

from push_core.queues.amqp_link import Wire
from push_core.queues.port import Published

TRANSIENT, PERSISTENT = 1, 2  # delivery modes
_FRAMES_KEPT = 1_024


class _Frames(asyncio.Queue[Any]):
    """The queue that a connection's reader fills for a channel, with a tap before it."""

    def __init__(self, tap: Callable[[object], bool]) -> None:
        super().__init__()
        self._tap = tap

    async def put(self, item: Any) -> None:
        if not self._tap(item[1]):
            await super().put(item)


class Content(NamedTuple):
    """A method that brings a body, and what it brought."""

    method: Any
    header: ContentHeader
    body: bytes


class _Collector:
    """Puts a method, its header and its bodies together."""

    __slots__ = ("_header", "_left", "_method", "_parts")

    def __init__(self) -> None:
        self._method: Any = None
        self._header: ContentHeader | None = None
        self._parts: list[bytes] = []
        self._left = 0

    def begin(self, method: object) -> None:
        """`None`: what comes next is somebody else's."""
        self._method, self._header, self._parts = method, None, []

    @property
    def collecting(self) -> bool:
        return self._method is not None

    def add(self, frame: ContentHeader | ContentBody) -> Content | None:
        if isinstance(frame, ContentHeader):
            self._header = frame
            self._left = frame.body_size
        else:
            self._parts.append(frame.value)
            self._left -= len(frame.value)
        if self._left > 0 or self._header is None:
            return None
        parts = self._parts
        content = Content(self._method, self._header, parts[0] if len(parts) == 1 else b"".join(parts))
        self.begin(None)
        return content


class _TappedChannel(Channel):
    def __init__(self, wire: Wire, number: int, *, confirms: bool) -> None:
        super().__init__(wire.connection, number, publisher_confirms=confirms)
        self.frames = _Frames(self._tap)
        self.wire = wire
        self.heard_at = self.loop.time()
        self._collector = _Collector()

    def _tap(self, frame: object) -> bool:
        """Whether the frame was taken here."""
        self.heard_at = self.loop.time()
        if isinstance(frame, ContentHeader | ContentBody):
            if not self._collector.collecting:
                return False
            content = self._collector.add(frame)
            if content is not None:
                self._arrived(content)
            return True
        if isinstance(frame, self._brings_content):
            self._collector.begin(frame)
            return True
        self._collector.begin(None)
        return self._take(frame)

    _brings_content: tuple[type, ...] = ()

    def _arrived(self, content: Content) -> None:
        raise NotImplementedError

    def _take(self, frame: object) -> bool:
        raise NotImplementedError

    def _send(self, *frames: Any) -> None:
        self.wire.write(b"".join([wire_format.marshal(frame, self.number) for frame in frames]))


async def _open(channel: _TappedChannel, timeout_s: float) -> None:
    """As `Connection.channel` does for a channel of its own making."""
    async with asyncio.timeout(timeout_s):
        await channel.open(timeout=timeout_s)


def _number(wire: Wire) -> int:
    numbers = wire.connection.channels
    number = 1
    while number in numbers:
        number += 1
    return number


# ── publishing ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Letter(NamedTuple):
    """A body for a queue by the broker's name."""

    queue: str
    body: bytes


class Batch:
    """Bodies that were sent together, and what the broker has said of each so far; `returned` are those that no queue took."""

    __slots__ = ("_left", "done", "outcomes", "returned")

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.outcomes = [Published.UNCONFIRMED] * count
        self.returned: set[int] = set()
        self.done: asyncio.Future[None] = loop.create_future()
        self._left = count

    @property
    def lost(self) -> bool:
        """Whether it is done, and of some it is not known what became of them."""
        return self.done.done() and any(
            outcome is Published.UNCONFIRMED and index not in self.returned
            for index, outcome in enumerate(self.outcomes)
        )

    def settle(self, index: int, outcome: Published) -> None:
        self.outcomes[index] = outcome
        self._left -= 1
        if not self._left:
            self.end()

    def end(self) -> None:
        if not self.done.done():
            self.done.set_result(None)


class PublishChannel(_TappedChannel):
    _brings_content = (spec.Basic.Return,)

    def __init__(self, wire: Wire, number: int) -> None:
        super().__init__(wire, number, confirms=True)
        self._tag = 0
        self._pending: OrderedDict[int, tuple[Batch, int]] = OrderedDict()
        self._methods: dict[str, bytes] = {}

    @classmethod
    async def open_on(cls, wire: Wire, timeout_s: float) -> "PublishChannel":
        """Raises what the driver raises."""
        channel = cls(wire, _number(wire))
        wire.connection.channels[channel.number] = channel
        await _open(channel, timeout_s)
        channel.closing.add_done_callback(channel._lost)
        return channel

    def send(self, letters: Sequence[Letter], stamp: Callable[[int], str]) -> Batch:
        """Write the bodies; the batch is done when the broker has answered for each, or will not any more. `stamp` makes the message id of the
        body with this number; its number must be the first part, ended by a full stop: a body that no queue takes comes back with it."""
        batch = Batch(len(letters), self.loop)
        parts: list[bytes] = []
        for index, letter in enumerate(letters):
            self._tag += 1
            self._pending[self._tag] = batch, index
            properties = spec.Basic.Properties(delivery_mode=TRANSIENT, message_id=stamp(self._tag))
            header = ContentHeader(body_size=len(letter.body), properties=properties)
            parts += (self._method(letter.queue), wire_format.marshal(header, self.number))
            for at in range(0, len(letter.body), self.max_content_size):
                part = letter.body[at : at + self.max_content_size]
                parts.append(wire_format.marshal(ContentBody(part), self.number))
        if self.is_closed:
            self._lost()
        else:
            self.wire.write(b"".join(parts))
        return batch

    def _method(self, queue: str) -> bytes:
        known = self._methods.get(queue)
        if known is None:
            if len(self._methods) >= _FRAMES_KEPT:
                self._methods.clear()
            publish = spec.Basic.Publish(exchange="", routing_key=queue, mandatory=True)
            known = self._methods[queue] = wire_format.marshal(publish, self.number)
        return known

    def _take(self, frame: object) -> bool:
        if isinstance(frame, spec.Basic.Ack):
            self._answered(frame.delivery_tag, frame.multiple, Published.CONFIRMED)
            return True
        if isinstance(frame, spec.Basic.Nack):
            self._answered(frame.delivery_tag, frame.multiple, Published.FULL)
            return True
        return False

    def _arrived(self, content: Content) -> None:
        """A body came back: its queue is not there. Its confirm follows."""
        number = str(content.header.properties.message_id).partition(".")[0]
        pending = self._pending.get(int(number, 16))
        if pending is not None:
            batch, index = pending
            batch.returned.add(index)

    def _answered(self, tag: int | None, multiple: bool, outcome: Published) -> None:
        if tag is None:
            return
        if not multiple:
            tags = [tag]
        else:
            tags = []
            for pending in self._pending:
                if pending > tag:
                    break
                tags.append(pending)
        for one in tags:
            found = self._pending.pop(one, None)
            if found is not None:
                batch, index = found
                batch.settle(index, Published.UNCONFIRMED if index in batch.returned else outcome)

    def _lost(self, _: object = None) -> None:
        for batch, _index in self._pending.values():
            batch.end()
        self._pending.clear()


# ── consuming ─────────────────────────────────────────────────────────────────────────────────────────────────────────


class Listener(Protocol):
    """Who is told what arrives on a consuming channel. Called from the connection's reader: quick, and never raises."""

    def delivered(self, consumer_tag: str, content: Content) -> None: ...

    def got(self, content: Content | None) -> None:
        """The answer to the oldest `ask`; None: the queue is empty."""
        ...

    def ended(self, consumer_tag: str) -> None:
        """The broker ended this consumer: its queue is gone."""
        ...


class ConsumeChannel(_TappedChannel):
    _brings_content = (spec.Basic.Deliver, spec.Basic.GetOk)

    def __init__(self, wire: Wire, number: int, listener: Listener) -> None:
        super().__init__(wire, number, confirms=False)
        self._listener = listener
        self._open: dict[int, None] = {}  # delivery tags that are not settled, in order
        self._acks: set[int] = set()  # those that the broker is about to be told of

    @classmethod
    async def open_on(cls, wire: Wire, listener: Listener, timeout_s: float) -> "ConsumeChannel":
        """Raises what the driver raises."""
        channel = cls(wire, _number(wire), listener)
        wire.connection.channels[channel.number] = channel
        await _open(channel, timeout_s)
        return channel

    async def subscribe(self, queue: str, consumer_tag: str, prefetch: int, timeout_s: float) -> None:
        await self.basic_qos(prefetch_count=prefetch, timeout=timeout_s)  # holds for consumers made after it
        await self.basic_consume(queue, _nobody, consumer_tag=consumer_tag, timeout=timeout_s)

    def unsubscribe(self, consumer_tag: str) -> None:
        """What the broker sent meanwhile still arrives."""
        self.consumers.pop(consumer_tag, None)
        self._send(spec.Basic.Cancel(consumer_tag=consumer_tag, nowait=True))

    def ask(self, queue: str) -> None:
        """For one body; answers arrive in the order of the asks."""
        self._send(spec.Basic.Get(queue=queue, no_ack=False))

    def ack(self, tags: Sequence[int]) -> None:
        """Told to the broker in this turn of the loop, together with others."""
        if not self._acks:
            self.loop.call_soon(self.flush)
        self._acks.update(tags)

    def flush(self) -> None:
        """The acks, now: in one frame all up to the first that is still open, the others one by one."""
        acks, self._acks = self._acks, set()
        if not acks:
            return
        upto = 0
        while self._open and (first := next(iter(self._open))) in acks:
            upto = first
            acks.discard(first)
            del self._open[first]
        for tag in acks:
            self._open.pop(tag, None)
        together = [spec.Basic.Ack(delivery_tag=upto, multiple=True)] if upto else []
        self._send(*together, *(spec.Basic.Ack(delivery_tag=tag) for tag in sorted(acks)))

    def put_back(self, tags: Sequence[int]) -> None:
        self.flush()
        for tag in tags:
            self._open.pop(tag, None)
        self._send(*(spec.Basic.Nack(delivery_tag=tag, requeue=True) for tag in tags))

    def _take(self, frame: object) -> bool:
        if isinstance(frame, spec.Basic.GetEmpty):
            self._listener.got(None)
            return True
        if isinstance(frame, spec.Basic.Cancel) and frame.consumer_tag is not None:
            self._listener.ended(frame.consumer_tag)
        return False

    def _arrived(self, content: Content) -> None:
        self._open[content.method.delivery_tag] = None
        if isinstance(content.method, spec.Basic.Deliver):
            self._listener.delivered(content.method.consumer_tag or "", content)
        else:
            self._listener.got(content)


async def _nobody(_: DeliveredMessage) -> None:
    """The driver wants a callback for its consumers; deliveries never reach it."""
