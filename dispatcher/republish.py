"""Due rows of the relay: publish what is still open, marked as a repeat, with doubling gaps, under a rate, and never what may still be in its
queue: a backlog is not fed by its own relay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from dispatcher.actions import Actions
from dispatcher.delivery import Delivery, event, moved
from dispatcher.publisher import publish_envelopes
from dispatcher.relay import FOUND
from push_core.clock import Clock, WallMs
from push_core.envelope import Envelope, queue_name
from push_core.ids import time_of
from push_core.lifecycle import OPEN
from push_core.messages.port import Later, Messages, Standing
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.queues.port import Queues
from push_core.trail.port import Trail

OPEN_PAGE = 1_000
STUCK_TRIES = FOUND + 5
"""A message that is open so long after its acceptance (minutes, by the doubling gaps) is the remainder of a ledger that does not balance."""


class Rate:
    """A token bucket of one second's worth."""

    def __init__(self, per_s: int) -> None:
        self._per_s = per_s
        self._left = float(per_s)
        self._at: float | None = None
        self._promised = 0.0

    def take(self, wanted: int, now: float) -> int:
        """How many of `wanted` may go now."""
        if self._at is not None:
            self._left = min(float(self._per_s), self._left + (now - self._at) * self._per_s)
        self._at = now
        granted = min(wanted, int(self._left))
        self._left -= granted
        return granted

    def turns(self, count: int, now: float) -> list[int]:
        """In how many seconds each of `count` that may not go now should ask again: one after the other behind those that asked before, so that
        a backlog is not taken up and put off as a whole every second."""
        first = max(self._promised, now + 1)
        self._promised = first + count / self._per_s
        return [int(first - now + place / self._per_s) for place in range(count)]


@dataclass(frozen=True, slots=True)
class Gaps:
    """When a message may be published again. Pure."""

    first_ms: int
    most_ms: int

    def after(self, tries: int, oldest_age_s: float) -> int:
        """Milliseconds to the next look after the given try; never shorter than the queue's oldest body has been waiting."""
        doubled = self.first_ms << min(max(tries - 1, 0), 30)
        return max(min(doubled, self.most_ms), int(oldest_age_s * 1_000))

    def may_be_queued(self, row: Later, oldest_age_s: float, now: WallMs) -> bool:
        """Whether an earlier publishing may still be waiting in the queue: bodies leave in order, so it can't be when the oldest came later."""
        if row.tries <= FOUND:
            return False  # put there by somebody who knows
        published = time_of(row.id) if row.tries == FOUND + 1 else now - self.after(row.tries - 1, 0.0)
        return oldest_age_s * 1_000 >= now - published


class Republisher:
    def __init__(
        self,
        messages: Messages,
        queues: Queues,
        actions: Actions,
        trail: Trail,
        metrics: Metrics,
        clock: Clock,
        *,
        rate: int,
        gaps: Gaps,
    ) -> None:
        self._messages = messages
        self._queues = queues
        self._actions = actions
        self._trail = trail
        self._metrics = metrics
        self._clock = clock
        self._rate = Rate(rate)
        self._gaps = gaps

    async def due(self, rows: Sequence[Later]) -> None:
        """Raises Unavailable: the rows come back by themselves."""
        granted = self._rate.take(len(rows), self._clock.monotonic())
        now = self._clock.wall_ms()
        if granted < len(rows):
            await self._put_off(rows[granted:], now)
            rows = rows[:granted]
        ids = list({row.id for row in rows})
        envelopes = dict(zip(ids, await self._messages.envelopes(ids), strict=True))
        over = [row for row in rows if envelopes[row.id] is None]
        rows = [row for row in rows if envelopes[row.id] is not None]
        ages = await self._ages([envelope for envelope in envelopes.values() if envelope is not None])
        open_devices, stored, closed = await self._look(rows, envelopes)
        over.extend(closed)
        if stored:
            # A row whose gateway could not be told stays: it is what tells it again.
            not_told = await self._actions.poke([delivery for _, delivery in stored])
            over.extend(row for row, delivery in stored if delivery.key not in not_told)
        waiting: list[Later] = []
        again: list[Later] = []
        devices_of: dict[int, list[str]] = {}  # one envelope a message, however many rows it has
        for row in rows:
            devices = open_devices.get((row.id, row.device))
            envelope = envelopes[row.id]
            if devices is None or envelope is None:
                continue
            age_s = ages[queue_name(envelope.queue_class, envelope.priority)]
            due = now + self._gaps.after(row.tries, age_s)
            if self._gaps.may_be_queued(row, age_s, now):
                waiting.append(moved(row, due, row.tries - 1))
                continue
            again.append(moved(row, due, row.tries))
            if row.tries >= STUCK_TRIES:
                self._metrics.count(Metric.DI_RELAY_STUCK)
            devices_of.setdefault(row.id, []).extend(devices)
        # An expansion starts over and meets the devices found before as well, so these need no envelope of their own.
        expanding = {message_id for (message_id, _), devices in open_devices.items() if not devices}
        published = [
            msgspec.structs.replace(envelope, repeat=True)
            if message_id in expanding
            else msgspec.structs.replace(envelope, devices=devices, alias=None, repeat=True)
            for message_id, devices in devices_of.items()
            if (envelope := envelopes[message_id]) is not None
        ]
        # The next look is written first: a crash right after it costs a gap, never the message.
        await self._messages.put_later([*waiting, *again])
        if over:
            await self._messages.drop_later(over)
        if published:
            await publish_envelopes(self._queues, published)  # refused: the next look finds it
            self._note(published, now)

    async def _look(
        self, rows: Sequence[Later], envelopes: Mapping[int, Envelope | None]
    ) -> tuple[dict[tuple[int, str], list[str]], list[tuple[Later, Delivery]], list[Later]]:
        """By row: the devices that are still open (none: the whole message is to be expanded); deliveries that wait in an inbox; rows that are done."""
        open_devices: dict[tuple[int, str], list[str]] = {}
        stored: list[tuple[Later, Delivery]] = []
        over: list[Later] = []
        single = [row for row in rows if row.device]
        standings = await self._messages.standings([(row.id, row.app, row.device) for row in single])
        for row, standing in zip(single, standings, strict=True):
            envelope = envelopes[row.id]
            if envelope is None or not _open(standing):
                over.append(row)
            elif standing is not None and standing.in_inbox:
                stored.append((row, Delivery(envelope, row.device, again=True)))
            elif standing is not None and standing.vendor:
                over.append(row)
            else:
                open_devices[row.id, row.device] = [row.device]
        for row in rows:
            if row.device:
                continue
            found = await self._messages.open_between(row.id, row.id, limit=OPEN_PAGE)
            if not found:
                over.append(row)
            elif any(device == "" for _, _, device in found):
                open_devices[row.id, ""] = []
            else:
                open_devices[row.id, ""] = [device for _, _, device in found]
        return open_devices, stored, over

    async def _ages(self, envelopes: Sequence[Envelope]) -> dict[str, float]:
        names = {queue_name(envelope.queue_class, envelope.priority) for envelope in envelopes}
        return {name: await self._queues.oldest_age_s(name) for name in names}

    async def _put_off(self, rows: Sequence[Later], now: WallMs) -> None:
        turns = self._rate.turns(len(rows), self._clock.monotonic())
        await self._messages.put_later(
            [moved(row, now + turn * 1_000, row.tries - 1) for row, turn in zip(rows, turns, strict=True)]
        )

    def _note(self, envelopes: Sequence[Envelope], now: WallMs) -> None:
        self._metrics.count(Metric.DI_RELAY_REPUBLISHED, len(envelopes))
        self._trail.write(
            [
                event(Delivery(envelope, device), "published_again", now)
                for envelope in envelopes
                for device in envelope.devices or [""]
            ]
        )


def _open(standing: Standing | None) -> bool:
    return standing is not None and standing.state in OPEN and not standing.recalled
