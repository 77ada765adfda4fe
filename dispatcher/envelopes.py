"""Batches of envelopes as work for the intake: what is read, handled and, if it can't be, ended as poison.

A batch has messages of every store. One store of several that is away must not keep back the others': each such batch would keep its place in the intake
until all places are taken. What belongs to it is left to the relay, which reads that store on from where it was as soon as it is back.
"""

import asyncio
from collections.abc import Sequence

import msgspec
import structlog

from dispatcher.ledger import Ledger
from dispatcher.pipeline import Pipeline
from dispatcher.settings import DispatcherSettings
from push_core.clock import Clock
from push_core.envelope import Envelope, Work, decode_batch, encode_batch, queue_name
from push_core.errors import Unavailable
from push_core.lifecycle import Reason, State
from push_core.messages.port import Change, Messages
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.models import PRIORITIES
from push_core.queues.port import Source

log = structlog.get_logger(__name__)
BELIEVED_S = 2.0
"""For how long a store that did not answer is taken to be away without being asked again."""


class EnvelopeWork:
    def __init__(self, pipeline: Pipeline, messages: Messages, ledger: Ledger, metrics: Metrics, clock: Clock) -> None:
        self._pipeline = pipeline
        self._messages = messages
        self._ledger = ledger
        self._metrics = metrics
        self._clock = clock
        self._stores = messages.stores()
        self._away_until: dict[int, float] = {}  # monotonic, by the number of the store

    def decode(self, body: bytes) -> list[Envelope]:
        return decode_batch(body)

    async def handle(self, items: Sequence[Envelope], *, redelivered: bool) -> None:
        try:
            await self._pipeline.handle(items, redelivered=redelivered)
        except Unavailable:
            if len(self._stores) == 1:
                raise
            await self._store_by_store(items)

    async def _store_by_store(self, items: Sequence[Envelope]) -> None:
        """What can be done now is done. Raises Unavailable unless it is a store that is away, and not the only one."""
        parts: dict[int, list[Envelope]] = {}
        for item in items:
            parts.setdefault(self._messages.store_of(item.id), []).append(item)
        away = {store for store in parts if self._clock.monotonic() < self._away_until.get(store, 0.0)}
        here = [store for store in parts if store not in away]
        answers = await asyncio.gather(
            *(self._pipeline.handle(parts[store], redelivered=True) for store in here), return_exceptions=True
        )
        for store, answer in zip(here, answers, strict=True):
            if isinstance(answer, Unavailable) and not await self._answers(store):
                away.add(store)
            elif isinstance(answer, BaseException):
                raise answer  # it may be presence: then nobody is better off by what is left to the relay
        if away.issuperset(parts) and not await self._another_answers(away):
            raise Unavailable("no message store answers")
        for store in away:
            self._metrics.count(Metric.DI_LEFT_TO_RELAY, len(parts[store]))
            log.warning("left to the relay: their store is away", store=store, count=len(parts[store]))

    async def _another_answers(self, away: set[int]) -> bool:
        others = [store for store in range(len(self._stores)) if store not in away]
        return any(await asyncio.gather(*map(self._answers, others)))

    async def _answers(self, store: int) -> bool:
        try:
            await self._stores[store].ping()
        except Unavailable:
            self._away_until[store] = self._clock.monotonic() + BELIEVED_S
            return False
        return True

    def again(self, item: Envelope) -> bytes:
        return encode_batch([msgspec.structs.replace(item, repeat=True)])

    async def bury(self, raw: bytes, item: Envelope | None) -> None:
        if item is not None and item.work is Work.RECALL:
            return  # the deliveries have ended already, and each device's inbox holds the recall
        named = (item.id, item.app, item.devices) if item is not None else name_of(raw)
        if named is None:
            return
        message_id, app, devices = named
        now = self._clock.wall_ms()
        if devices:
            await self._ledger.apply(
                [
                    Change(id=message_id, app=app, device=device, to=State.UNDELIVERABLE, at=now, reason=Reason.POISON)
                    for device in devices
                ]
            )
        else:
            await self._messages.expanded([(message_id, app, Reason.POISON)], now=now)


def name_of(raw: bytes) -> tuple[int, str, list[str]] | None:
    """The id, app and devices of an envelope that is not readable as one, if its beginning is what it should be."""
    try:
        parts = msgspec.msgpack.decode(raw, type=list[msgspec.Raw])
        return (
            msgspec.msgpack.decode(parts[0], type=int),
            msgspec.msgpack.decode(parts[1], type=str),
            msgspec.msgpack.decode(parts[2], type=list[str]),
        )
    except (msgspec.DecodeError, IndexError):
        return None


def sources(settings: DispatcherSettings) -> list[Source]:
    """The queues of every class by priority, with their shares."""
    return [
        Source(queue_name(queue_class, priority), settings.weight(priority), settings.prefetch_of(priority))
        for queue_class in settings.classes
        for priority in PRIORITIES
    ]
