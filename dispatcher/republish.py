"""Due rows of the relay: publish what is still open, marked as a repeat, with doubling gaps, under a rate, and never what may still be in its
queue: a backlog is not fed by its own relay."""

import asyncio
import random
from collections.abc import Mapping, Sequence

import msgspec
import structlog

from dispatcher.actions import Actions
from dispatcher.delivery import Delivery, event, moved
from dispatcher.pace import Gaps, Rate
from dispatcher.publisher import publish_envelopes
from dispatcher.relay import FOUND
from push_core.clock import Clock, WallMs
from push_core.envelope import Envelope, queue_name
from push_core.errors import Unavailable
from push_core.lifecycle import OPEN
from push_core.messages.port import Later, Messages, Standing
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.queues.port import Published, Queues
from push_core.trail.port import Trail

log = structlog.get_logger(__name__)

OPEN_PAGE = 1_000
STUCK_TRIES = FOUND + 5
"""A message that is open so long after its acceptance (minutes, by the doubling gaps) is the remainder of a ledger that does not balance."""
AGE_KEPT_S = 0.5
"""How long a queue's age is believed: to ask for it costs a look at a body."""
AWAY_S = 1.0
"""After nothing of a batch was confirmed: how long nothing is published, and about how long what is due is put off."""
LOOKS_AT_A_TIME = 4


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
        rate: Rate,
        gaps: Gaps,
    ) -> None:
        self._messages = messages
        self._queues = queues
        self._actions = actions
        self._trail = trail
        self._metrics = metrics
        self._clock = clock
        self._rate = rate
        self._gaps = gaps
        self._known_ages: dict[str, tuple[float, float]] = {}  # by queue: the age, and until when it is believed
        self._away_until = 0.0
        self._looks = asyncio.Semaphore(LOOKS_AT_A_TIME)

    async def due(self, rows: Sequence[Later]) -> None:
        """Raises Unavailable when the store is down: the rows come back by themselves. While the queues are down they are put off for moments."""
        now = self._clock.wall_ms()
        if self._clock.monotonic() < self._away_until:
            await self._put_off_shortly(rows, now)
            return
        granted = self._rate.take(len(rows), self._clock.monotonic())
        if granted < len(rows):
            await self._put_off(rows[granted:], now)
            rows = rows[:granted]
        ids = list({row.id for row in rows})
        envelopes = dict(zip(ids, await self._messages.envelopes(ids), strict=True))
        over = [row for row in rows if envelopes[row.id] is None]
        rows = [row for row in rows if envelopes[row.id] is not None]
        try:
            ages = await self._ages([envelope for envelope in envelopes.values() if envelope is not None])
        except Unavailable as error:
            self._queues_are_away(error.message)
            await self._put_off_shortly(rows, now)
            rows, ages = [], {}
        open_devices, stored, closed = await self._look(rows, envelopes)
        over.extend(closed)
        waiting: list[Later] = []
        if stored:
            # A row whose gateway could not be told stays: it is what tells it again.
            not_told = await self._actions.poke([delivery for _, delivery in stored])
            over.extend(row for row, delivery in stored if delivery.key not in not_told)
            waiting.extend(
                moved(row, now + self._actions.told_again.after(row.tries, 0.0), row.tries)
                for row, delivery in stored
                if delivery.key in not_told
            )
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
            known = devices_of.setdefault(row.id, [])
            known.extend(device for device in devices if device not in known)
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
            await self._publish(published, again, now)

    async def _publish(self, envelopes: Sequence[Envelope], rows: Sequence[Later], now: WallMs) -> None:
        """`rows` are theirs, as put for the next look."""
        outcomes = await publish_envelopes(self._queues, envelopes)
        confirmed = [one for one, outcome in zip(envelopes, outcomes, strict=True) if outcome is Published.CONFIRMED]
        unknown = {one.id for one, outcome in zip(envelopes, outcomes, strict=True) if outcome is Published.UNCONFIRMED}
        # What a full queue refused is left to its next look: it has enough.
        if unknown:
            await self._put_off_shortly([row for row in rows if row.id in unknown], now)
            if len(unknown) == len(outcomes):
                self._queues_are_away("nothing was confirmed")
        if confirmed:
            self._note(confirmed, now)

    def _queues_are_away(self, reason: str) -> None:
        log.warning("relay waits for the queues", reason=reason)
        self._away_until = self._clock.monotonic() + AWAY_S

    async def _put_off_shortly(self, rows: Sequence[Later], now: WallMs) -> None:
        """Their gaps stay as they are: nothing was published."""
        if rows:
            pause_ms = int(AWAY_S * 1_000)
            await self._messages.put_later(
                [moved(row, now + random.randint(pause_ms, 2 * pause_ms), row.tries - 1) for row in rows]  # noqa: S311
            )

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
        whole = [row for row in rows if not row.device]
        for row, found in zip(whole, await asyncio.gather(*(self._open_of(row) for row in whole)), strict=True):
            if not found:
                over.append(row)
            elif any(device == "" for _, _, device in found):
                open_devices[row.id, ""] = []
            else:
                open_devices[row.id, ""] = [device for _, _, device in found]
        return open_devices, stored, over

    async def _open_of(self, row: Later) -> list[tuple[int, str, str]]:
        async with self._looks:
            return await self._messages.open_between(row.id, row.id, limit=OPEN_PAGE)

    async def _ages(self, envelopes: Sequence[Envelope]) -> dict[str, float]:
        """By queue. Raises Unavailable."""
        at = self._clock.monotonic()
        ages: dict[str, float] = {}
        for name in {queue_name(envelope.queue_class, envelope.priority) for envelope in envelopes}:
            age_s, until = self._known_ages.get(name, (0.0, 0.0))
            if at >= until:
                age_s = await self._queues.oldest_age_s(name)
                self._known_ages[name] = age_s, at + AGE_KEPT_S
            ages[name] = age_s
        if ages:
            self._rate.follow(max(ages.values()), at)
        return ages

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
