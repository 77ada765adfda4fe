"""Whether this node is emptied, and who wants it so: by hand, by the switch in control, or because it stops.

    serving ──drain──▶ moving ──▶ empty ──undrain──▶ serving
                         └───────────┴──stop──▶ (gone)

While it is emptied it is not ready, does not listen, and moves its devices elsewhere (`push_gateway.moving`); its lease holds until it
stops, since its devices are served until they have gone.
"""

import asyncio
import enum
from collections.abc import Coroutine, Mapping
from typing import Any

import structlog

from push_core.control.port import Entry
from push_core.errors import ConfigError
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_gateway.context import Context
from push_gateway.departures import Terms
from push_gateway.drain_switch import ordered
from push_gateway.gate import Gate
from push_gateway.moving import Moving

log = structlog.get_logger(__name__)

AGAIN_S = 1.0  # between tries to listen again


class Phase(enum.StrEnum):
    SERVING = "serving"
    MOVING = "moving"
    EMPTY = "empty"


class Drain:
    def __init__(self, context: Context, gate: Gate, metrics: Metrics) -> None:
        self._context = context
        self._gate = gate
        self._metrics = metrics
        self._by_hand: Terms | None = None
        self._by_switch: Terms | None = None
        self._in_force: Terms | None = None
        self._moving: Moving | None = None
        self._task: asyncio.Task[None] | None = None
        self._leaving = False
        self.phase = Phase.SERVING

    @property
    def why(self) -> str:
        """A line of /readyz; "" while it serves."""
        if not self._context.draining:
            return ""
        if self._in_force is None:
            return "told to serve again, and does not listen yet"
        by = "by the switch in control" if self._by_switch is not None else "by hand"
        return f"drained ({by}, {self.phase}; taco gateway undrain ends it)"

    @property
    def progress(self) -> Mapping[str, Any]:
        moving = self._moving
        return {
            "node": self._context.settings.name,
            "phase": self.phase.value,
            "by_hand": self._by_hand is not None,
            "by_switch": self._by_switch is not None,
            "sessions": len(self._context.registry.signed),
            "connections": len(self._context.registry.connections),
            **(moving.progress if moving is not None else {}),
        }

    def terms(
        self, *, within_s: float, rate: int | None = None, over_s: float = 0.0, urls: tuple[str, ...] | None = None
    ) -> Terms:
        """With what the settings say where nothing is given."""
        settings = self._context.settings
        return Terms(
            rate=rate or settings.drain_rate,
            within_s=within_s,
            over_s=over_s,
            leave_s=min(settings.drain_leave_s, within_s / 2),
            urls=settings.drain_urls if urls is None else urls,
        )

    # ── who wants it ──────────────────────────────────────────────────────────────────────────────────────────────────

    def by_hand(self, terms: Terms | None) -> None:
        """None: not any more."""
        self._by_hand = terms
        self._pursue()

    def on_switch(self, entry: Entry) -> None:
        """The key `drain` of control has changed."""
        try:
            order = ordered(entry.value, self._context.settings.name)
        except ValueError as error:
            log.warning(
                "the drain switch is refused; what it said before holds", version=entry.version, error=str(error)
            )
            return
        self._by_switch = None if order is None else self.terms(**order)
        self._pursue()

    async def leave(self, within_s: float) -> None:
        """The node stops: the gate is shut, and devices have so long to go elsewhere. What is under way goes on, with that end."""
        context = self._context
        context.draining = self._leaving = True
        if self._task is not None and self._moving is not None:
            self._moving.end = min(self._moving.end, context.clock.monotonic() + within_s)
            await asyncio.wait({self._task})
        else:
            await self._cancel()
            if within_s > 0 and context.registry.connections:
                await self._empty(self.terms(within_s=within_s))
        await self._gate.shut()

    async def close(self) -> None:
        await self._cancel()

    # ── making it so ──────────────────────────────────────────────────────────────────────────────────────────────────

    def _pursue(self) -> None:
        wanted = self._by_hand or self._by_switch
        if wanted == self._in_force or self._leaving:
            return
        self._in_force = wanted
        before = self._task
        work = self._serve() if wanted is None else self._empty(wanted)
        self._task = asyncio.get_running_loop().create_task(self._after(before, work), name="gateway.drain")

    async def _after(self, before: "asyncio.Task[None] | None", work: Coroutine[Any, Any, None]) -> None:
        try:
            if before is not None:
                before.cancel()
                await asyncio.gather(before, return_exceptions=True)
            await work
        except Exception:  # the supervised edge: nobody awaits it while the node serves
            log.exception("the node could not be drained as told")
            self._metrics.count(Metric.TASK_ERRORS, task="gateway.drain")
        finally:
            work.close()  # cancelled before it began

    async def _empty(self, terms: Terms) -> None:
        context = self._context
        context.draining = True
        self.phase = Phase.MOVING
        self._metrics.gauge(Metric.GW_DRAINED, 1.0)
        began = context.clock.monotonic()
        if context.settings.drain_notice_s:
            await asyncio.sleep(min(context.settings.drain_notice_s, terms.within_s))
        await self._gate.shut()
        moving = self._moving = Moving(context, terms)
        moving.end = began + terms.within_s
        try:
            if not await moving.run():
                await moving.send_away()
            self.phase = Phase.EMPTY
        finally:
            self._moving = None

    async def _serve(self) -> None:
        while not self._gate.is_open:
            try:
                await self._gate.open()
            except ConfigError as error:
                log.error("can't serve again; trying on", error=str(error))  # noqa: TRY400 - a sentence, no fault
                await asyncio.sleep(AGAIN_S)
        self._context.draining = False
        self.phase = Phase.SERVING
        self._metrics.gauge(Metric.GW_DRAINED, 0.0)
        log.info("serving again", url=self._gate.url)

    async def _cancel(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
