"""Due FALLBACK rows: the ack deadline of a delivery that waits has passed, a vendor asked for time, or a job got lost on its way. If the delivery is
still open a vendor is asked; the row stays until something came of it."""

from collections.abc import Sequence

from dispatcher.delivery import event, moved
from dispatcher.fallback.jobs import VendorJob, job_of, publish_jobs
from dispatcher.ledger import Ledger
from dispatcher.vendor_routes import VendorRoutes
from push_core.clock import Clock
from push_core.envelope import vendor_queue_name
from push_core.lifecycle import OPEN, Reason, State
from push_core.messages.port import Change, Later, Messages
from push_core.models import Channels
from push_core.queues.port import Queues
from push_core.trail.port import Trail


class FallbackDue:
    def __init__(
        self,
        messages: Messages,
        queues: Queues,
        routes: VendorRoutes,
        ledger: Ledger,
        trail: Trail,
        clock: Clock,
        *,
        net_s: float,
        most_tries: int,
    ) -> None:
        self._messages = messages
        self._queues = queues
        self._routes = routes
        self._ledger = ledger
        self._trail = trail
        self._clock = clock
        self._net_s = net_s
        self._most_tries = most_tries

    async def due(self, rows: Sequence[Later]) -> None:
        """Raises Unavailable: the rows come back by themselves."""
        now = self._clock.wall_ms()
        standings = await self._messages.standings([(row.id, row.app, row.device) for row in rows])
        ids = list({row.id for row in rows})
        envelopes = dict(zip(ids, await self._messages.envelopes(ids), strict=True))
        reaches = await self._routes.of([(row.app, row.device) for row in rows])
        over: list[Later] = []
        put: list[Later] = []
        changes: list[Change] = []
        jobs: list[VendorJob] = []
        ages: dict[str, float] = {}
        for row, standing, reach in zip(rows, standings, reaches, strict=True):
            envelope = envelopes[row.id]
            if (
                standing is None
                or envelope is None
                or standing.state not in OPEN
                or standing.recalled
                or standing.vendor
                or envelope.expires <= now
            ):
                over.append(row)
                continue
            route = reach.first()
            if route is None or row.tries > self._most_tries:
                over.append(row)
                if envelope.channels is Channels.VENDOR:
                    why = Reason.REJECTED if route is not None else Reason.NO_CHANNEL
                    reason = Reason.BLOCKED if reach.blocked else why
                    changes.append(
                        Change(id=row.id, app=row.app, device=row.device, to=State.UNDELIVERABLE, at=now, reason=reason)
                    )
                continue
            queue = vendor_queue_name(route[0])
            if queue not in ages:
                ages[queue] = await self._queues.oldest_age_s(queue)
            tries = row.tries
            if ages[queue] >= self._net_s:
                # The job of the last time may still be in there: a backlog is not fed by its own net.
                tries -= 1
            else:
                jobs.append(job_of(envelope, row.device, route, tries=row.tries))
            due = now + int(max(self._net_s, ages[queue]) * 1_000)
            put.append(moved(row, due, tries))
        if put:
            await self._messages.put_later(put)
        await self._ledger.apply(changes)
        if over:
            await self._messages.drop_later(over)
        if jobs:
            await publish_jobs(self._queues, jobs)
            self._trail.write([event(job, "fallback", now, channel=job.channel) for job in jobs])
