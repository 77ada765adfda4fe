"""Takes rows whose time has come and hands them to whoever does that kind of work. A row that was taken is left alone for a while and then comes
back by itself: who dies with it loses nothing."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

from dispatcher.ledger import Ledger
from push_core.clock import Clock
from push_core.lifecycle import OPEN, Reason, State
from push_core.messages.port import Change, Later, Messages, Task

Due = Callable[[Sequence[Later]], Awaitable[None]]


class LaterPoller:
    def __init__(
        self, messages: Messages, clock: Clock, work: Mapping[Task, Due], *, hold_s: float, limit: int
    ) -> None:
        self._messages = messages
        self._clock = clock
        self._work = work
        self._hold_ms = int(hold_s * 1_000)
        self._limit = limit

    async def run_once(self) -> int:
        """Everything that is due now, `limit` rows at most; how many there were. Raises Unavailable."""
        rows = await self._messages.take_later(now=self._clock.wall_ms(), hold_ms=self._hold_ms, limit=self._limit)
        for task, due in self._work.items():
            of_task = [row for row in rows if row.task is task]
            if of_task:
                await due(of_task)
        return len(rows)


class Expiry:
    """Ends deliveries at their deadline that have no inbox row (those in an inbox are swept)."""

    def __init__(self, messages: Messages, ledger: Ledger, clock: Clock) -> None:
        self._messages = messages
        self._ledger = ledger
        self._clock = clock

    async def due(self, rows: Sequence[Later]) -> None:
        now = self._clock.wall_ms()
        standings = await self._messages.standings([(row.id, row.app, row.device) for row in rows])
        ids = list({row.id for row in rows})
        envelopes = dict(zip(ids, await self._messages.envelopes(ids), strict=True))
        changes: list[Change] = []
        over: list[Later] = []
        for row, standing in zip(rows, standings, strict=True):
            if standing is None or standing.state not in OPEN:
                over.append(row)
                continue
            envelope = envelopes[row.id]
            if standing.vendor:
                reason = Reason.UNCONFIRMED
            elif envelope is not None and envelope.live_only:
                reason = Reason.NOT_ACKED
            else:
                reason = Reason.TTL
            changes.append(Change(id=row.id, app=row.app, device=row.device, to=State.EXPIRED, at=now, reason=reason))
        await self._ledger.apply(changes)
        if over:
            await self._messages.drop_later(over)
