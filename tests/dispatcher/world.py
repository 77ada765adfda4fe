"""A dispatcher on embedded stores with a clock that is moved by hand, no loop running: tests step its parts."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from dispatcher.envelopes import sources
from dispatcher.fallback.port import Channel
from dispatcher.fallback.stub import StubChannel
from dispatcher.intake import Intake
from dispatcher.parts import Parts, build
from dispatcher.settings import DispatcherSettings
from push_core.adapters import Ports
from push_core.claims.memory import MemoryClaims
from push_core.control.sql import SqlControl
from push_core.control.watch import ControlWatch
from push_core.devices.sql import SqlDevices
from push_core.envelope import Envelope, encode_batch, queue_name, vendor_queue_name
from push_core.errors import Unavailable
from push_core.ids import make_id
from push_core.lifecycle import State
from push_core.limits.memory import MemoryLimits
from push_core.messages.port import Commit, InboxAsk, InboxRow, Messages, NewMessage, Standing
from push_core.messages.sql import SqlMessages
from push_core.metrics.memory import MemoryMetrics
from push_core.models import App, Device
from push_core.presence.memory import MemoryPresence
from push_core.presence.port import Presence
from push_core.queues.memory import MemoryQueues
from push_core.queues.port import Parcel, Source
from push_core.rpc.inproc import InprocRpc
from push_core.rpc.port import Receipt, ReceiptKind
from push_core.tasks import Crew
from push_core.trail.memory import MemoryTrail
from tests.dispatcher.fake_node import FakeNode
from tests.support.envelopes import sample
from tests.support.hand_clock import HandClock

APP = "courier"
HOUR = 3_600_000


@dataclass(slots=True)
class World:
    settings: DispatcherSettings
    time: HandClock
    ports: Ports
    rpc: InprocRpc
    queues: MemoryQueues
    metrics: MemoryMetrics
    trail: MemoryTrail
    stub: StubChannel
    crew: Crew
    parts: Parts
    channels: list[Channel]
    true_messages: Messages
    true_presence: Presence
    numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    @classmethod
    async def open(
        cls,
        settings: DispatcherSettings | None = None,
        channels: Sequence[Channel] | None = None,
        dsn: str = "sqlite://",
    ) -> "World":
        settings = settings or DispatcherSettings()
        time = HandClock()
        metrics = MemoryMetrics()
        trail = MemoryTrail()
        queues = MemoryQueues(monotonic=time.monotonic)
        rpc = InprocRpc()
        control = await SqlControl.open(dsn if dsn == "sqlite://" else dsn + ".control")
        ports = Ports(
            messages=await SqlMessages.open(dsn),
            devices=await SqlDevices.open(dsn if dsn == "sqlite://" else dsn + ".devices"),
            control=ControlWatch(control, None),
            presence=MemoryPresence(monotonic=time.monotonic),
            claims=MemoryClaims(monotonic=time.monotonic),
            limits=MemoryLimits(monotonic=time.monotonic),
            queues=queues,
            trail=trail,
            metrics=metrics,
            rpc=rpc,
        )
        stub = StubChannel(time.wall_ms)
        given: list[Channel] = list(channels) if channels is not None else [stub]
        crew = Crew("test", metrics)
        parts = build(settings, ports, time.clock(), rpc.peers(), crew, given)
        return cls(
            settings,
            time,
            ports,
            rpc,
            queues,
            metrics,
            trail,
            stub,
            crew,
            parts,
            given,
            ports.messages,
            ports.presence,
        )

    async def close(self) -> None:
        await self.crew.stop()
        await self.parts.receipts.close()
        await self.parts.nodes.close()
        await self.parts.ledger.close()
        await self.parts.routes.close()
        await self.parts.whereabouts.close()
        for channel in self.channels:
            await channel.close()
        await self.ports.close()

    def restart(self) -> None:
        """The dispatcher dies without a word; another one starts on the same stores."""
        self.crew = Crew("test", self.metrics)
        self.parts = build(self.settings, self.ports, self.time.clock(), self.rpc.peers(), self.crew, self.channels)

    def make_flaky(self, wrap: Callable[[Any], Any]) -> None:
        """Stand something between the dispatcher and its stores; tests ask the true ones."""
        for name in ("messages", "presence", "devices", "claims"):
            setattr(self.ports, name, wrap(getattr(self.ports, name)))
        self.restart()

    def replace_queues(self, queues: MemoryQueues) -> None:
        """The broker starts anew and empty; the program reconnects."""
        self.queues = self.ports.queues = queues
        self.restart()

    @property
    def messages(self) -> Messages:
        return self.ports.messages

    @property
    def now(self) -> int:
        return self.time.wall

    async def node(self, name: str = "gw-1") -> FakeNode:
        return await FakeNode(self.rpc, self.ports.presence, incarnation=f"{name}#1", name=name).start()

    async def register(self, device: str, **fields: Any) -> None:
        await self.ports.devices.put([Device(app=APP, device=device, **fields)])

    async def configure(self, **channels: dict[str, Any]) -> None:
        await self.ports.devices.put_apps([App(name=APP, channels=channels)])

    def envelope(self, *devices: str, **fields: Any) -> Envelope:
        n = next(self.numbers)
        usual = {
            "app": APP,
            "sent": self.now,
            "push": f'{{"id":"{n}"}}'.encode(),
            "traceparent": f"00-{n:032x}-{n:016x}-01",
        }
        message_id = make_id(self.now, n // 128 % 256, 3, n % 128)
        return sample(message_id, *devices, **{**usual, **fields})

    async def commit(self, *envelopes: Envelope) -> None:
        done = await self.true_messages.commit([NewMessage(envelope=envelope) for envelope in envelopes], now=self.now)
        assert {one.outcome for one in done} == {Commit.DONE}

    async def publish(self, *envelopes: Envelope) -> None:
        by_queue: dict[str, list[Envelope]] = {}
        for envelope in envelopes:
            by_queue.setdefault(queue_name(envelope.queue_class, envelope.priority), []).append(envelope)
        await self.queues.publish([Parcel(queue, encode_batch(batch)) for queue, batch in by_queue.items()])

    async def push(self, *devices: str, **fields: Any) -> Envelope:
        """Accepted, published and handled, vendors apart."""
        envelope = self.envelope(*devices, **fields)
        await self.commit(envelope)
        await self.publish(envelope)
        await self.handle()
        return envelope

    async def handle(self) -> int:
        return await self._pump(self.parts.intake, sources(self.settings))

    async def handle_vendors(self) -> int:
        return sum(
            [
                await self._pump(intake, [Source(vendor_queue_name(channel.name))])
                for intake, channel in zip(self.parts.vendor_intakes, self.channels, strict=True)
            ]
        )

    async def _pump(self, intake: Intake[Any], of: Sequence[Source]) -> int:
        """Everything queued now, and what that publishes; raises the first refusal, the batch given back."""
        consumer = await self.queues.consume(of)
        handled = 0
        try:
            while sum([await self.queues.depth(source.queue) for source in of]):
                taken = await consumer.take()
                try:
                    await intake.settle(taken)
                except Unavailable:
                    await consumer.give_back([taken.tag])
                    raise
                await consumer.ack([taken.tag])
                handled += 1
        finally:
            await consumer.close()
        return handled

    async def later(self, seconds: float = 0.0) -> int:
        """What is due after `seconds` more, and whatever it publishes."""
        self.time.advance(seconds)
        rows = await self.parts.later.run_once()
        await self.handle()
        await self.handle_vendors()
        return rows

    async def report(self, envelope: Envelope, device: str, kind: ReceiptKind, **fields: Any) -> None:
        await self.parts.receipts.report([self.receipt(envelope, device, kind, **fields)])

    def receipt(self, envelope: Envelope, device: str, kind: ReceiptKind, **fields: Any) -> Receipt:
        return Receipt(
            **{"id": envelope.id, "app": envelope.app, "device": device, "kind": kind, "at": self.now, **fields}
        )

    async def true_standing(self, envelope: Envelope, device: str) -> Standing:
        (standing,) = await self.true_messages.standings([(envelope.id, envelope.app, device)])
        assert standing is not None
        return standing

    async def standing(self, envelope: Envelope, device: str) -> Standing:
        (standing,) = await self.messages.standings([(envelope.id, envelope.app, device)])
        assert standing is not None
        return standing

    async def state(self, envelope: Envelope, device: str) -> State:
        return (await self.standing(envelope, device)).state

    async def reason(self, envelope: Envelope, device: str) -> str:
        (view,) = await self.messages.get([(envelope.app, envelope.id)])
        assert view is not None
        return next(delivery.reason for delivery in view.deliveries if delivery.device == device)

    async def inbox(self, device: str) -> list[InboxRow]:
        (page,) = await self.messages.inbox([InboxAsk(APP, device, 1_000)], now=self.now)
        return page.rows
