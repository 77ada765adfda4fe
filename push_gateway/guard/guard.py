"""All that protects a node, put together: the door, the rules, the pace, what sessions may send, who rests, how much room there is."""

import asyncio
from collections.abc import Callable

import structlog

from push_core.clock import Clock
from push_core.control.watch import ControlWatch
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.models import DeviceKey
from push_gateway.guard.budgets import Budgets
from push_gateway.guard.door import Door
from push_gateway.guard.flapping import OURS, Flapping
from push_gateway.guard.memory import Room, read
from push_gateway.guard.pace import Pace
from push_gateway.guard.rule_book import RuleBook
from push_gateway.settings import GatewaySettings

log = structlog.get_logger(__name__)
EVERY_S = 1.0


class Guard:
    """Of one node. Raises ConfigError with a sentence for settings that make no sense together. `look` is the body of a loop that a Crew keeps."""

    def __init__(self, settings: GatewaySettings, control: ControlWatch, metrics: Metrics, clock: Clock) -> None:
        self._settings = settings
        self._metrics = metrics
        self._monotonic = clock.monotonic
        self._memory_at = 0.0
        self._new_rests = 0
        self._example: DeviceKey | None = None
        self._forgotten = 0
        self.book = RuleBook(control, metrics, clock.monotonic)
        self.door = Door(settings, self.book, metrics)
        self.pace = Pace(settings.sign_ins, settings.sign_ins_burst, settings.sign_ins_wait_s)
        self.budgets = Budgets(settings.session_frames_per_s, settings.session_bytes_per_s, settings.session_burst_s)
        self.flapping = Flapping(
            settings.flapping_drops, settings.flapping_within_s, settings.flapping_rest_s, settings.flapping_devices
        )
        self.room = Room(settings.memory_share)

    def dropped(self, key: DeviceKey, code: int) -> None:
        """A session of the device is over, by this close code of ours or 0."""
        if code in OURS:
            return
        if self.flapping.dropped(key, self._monotonic()):
            self._new_rests += 1
            self._example = key

    async def run(self, sessions: Callable[[], int]) -> None:
        self.look(sessions())
        await asyncio.sleep(EVERY_S)

    def look(self, sessions: int) -> None:
        """Once a second, with the sessions that there are: forget what is over, measure, tell."""
        now = self._monotonic()
        self.budgets.sweep(now)
        self.flapping.sweep(now)
        self.book.flush()
        if now >= self._memory_at:
            self._memory_at = now + self._settings.memory_every_s
            before = self.room.ceiling
            self.room.note(read(self._settings.memory_limit_mb << 20), sessions)
            if before is None and self.room.ceiling is not None:
                used, limit = self.room.reading
                log.warning(
                    "memory is short: no more sessions than there are", used=used, limit=limit, sessions=sessions
                )
            elif before is not None and self.room.ceiling is None:
                log.info("memory is no longer short", used=self.room.reading.used, limit=self.room.reading.limit)
            self._metrics.gauge(Metric.GW_MEMORY_SHARE, self.room.reading.share)
        self._metrics.gauge(Metric.GW_FLAPPING_RESTING, self.flapping.resting)
        if self._new_rests:
            self._metrics.count(Metric.GW_FLAPPING, self._new_rests)
            app, device = self._example or ("", "")
            log.warning(
                "devices rest: their connections dropped again and again",
                devices=self._new_rests,
                app=app,
                one_of_them=device,
            )
            self._new_rests = 0
        if self.flapping.forgotten > self._forgotten:
            self._metrics.count(Metric.GW_FLAPPING_FORGOTTEN, self.flapping.forgotten - self._forgotten)
            self._forgotten = self.flapping.forgotten
