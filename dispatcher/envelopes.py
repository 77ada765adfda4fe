"""Batches of envelopes as work for the intake: what is read, handled and, if it can't be, ended as poison."""

from collections.abc import Sequence

import msgspec

from dispatcher.ledger import Ledger
from dispatcher.pipeline import Pipeline
from dispatcher.settings import DispatcherSettings
from push_core.clock import Clock
from push_core.envelope import Envelope, Work, decode_batch, encode_batch, queue_name
from push_core.lifecycle import Reason, State
from push_core.messages.port import Change, Messages
from push_core.models import PRIORITIES
from push_core.queues.port import Source


class EnvelopeWork:
    def __init__(self, pipeline: Pipeline, messages: Messages, ledger: Ledger, clock: Clock) -> None:
        self._pipeline = pipeline
        self._messages = messages
        self._ledger = ledger
        self._clock = clock

    def decode(self, body: bytes) -> list[Envelope]:
        return decode_batch(body)

    async def handle(self, items: Sequence[Envelope], *, redelivered: bool) -> None:
        await self._pipeline.handle(items, redelivered=redelivered)

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
