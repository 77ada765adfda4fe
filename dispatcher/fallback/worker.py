"""Calls to one vendor: claim, look, call, write down. Each channel has a queue and workers of its own, so that a slow vendor holds up nobody else.

A crash leaves the FALLBACK row that every job comes with. Between the vendor's yes and our row for it stands the claim, confirmed first: who
finds it done writes the missing row instead of calling again.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from dispatcher.delivery import change, event, inbox_row, later
from dispatcher.fallback.breaker import Breaker
from dispatcher.fallback.jobs import VendorJob, decode_jobs, encode_jobs, job_of, publish_jobs
from dispatcher.fallback.policy import Limits, Move, Verdict, judge
from dispatcher.fallback.port import Channel, Result, VendorOutcome
from dispatcher.fallback.token_guard import TokenGuard
from dispatcher.ledger import Ledger
from dispatcher.settings import DispatcherSettings
from dispatcher.vendor_routes import NOBODY, VendorRoutes
from push_core.claims.port import Claim, Claims
from push_core.clock import Clock
from push_core.devices.port import DeadToken
from push_core.lifecycle import OPEN, State
from push_core.messages.port import Change, InboxRow, Later, Messages, Standing, Task
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.models import Channels
from push_core.queues.port import Queues
from push_core.trail.port import Trail

log = structlog.get_logger(__name__)
FAILURES = frozenset((Result.RETRY_AFTER, Result.UNKNOWN))


@dataclass(slots=True)
class _Rows:
    """What one call leaves to be written."""

    changes: list[Change] = field(default_factory=list)
    drop: list[Later] = field(default_factory=list)
    put: list[Later] = field(default_factory=list)
    jobs: list[VendorJob] = field(default_factory=list)
    dead: list[DeadToken] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    give_back: list[str] = field(default_factory=list)


@dataclass(slots=True)
class VendorWorker:
    """`Work` of the intake for the queue of one channel. `holder` names this life of the program in claims."""

    channel: Channel
    messages: Messages
    claims: Claims
    queues: Queues
    routes: VendorRoutes
    ledger: Ledger
    trail: Trail
    metrics: Metrics
    breaker: Breaker
    guard: TokenGuard
    settings: DispatcherSettings
    clock: Clock
    holder: str

    def decode(self, body: bytes) -> list[VendorJob]:
        return decode_jobs(body)

    def again(self, item: VendorJob) -> bytes:
        return encode_jobs([item])  # claims and the store know what has been done

    async def bury(self, raw: bytes, item: VendorJob | None) -> None:
        """Nothing to end: the delivery waits in its inbox or for its row with a time, and another try may go well."""

    async def handle(self, items: Sequence[VendorJob], *, redelivered: bool) -> None:
        del redelivered  # every job is looked up before it is called
        for start in range(0, len(items), self.channel.max_batch):
            await self._call(items[start : start + self.channel.max_batch])

    async def _call(self, jobs: Sequence[VendorJob]) -> None:
        claims = await self.claims.take([job.claim for job in jobs], self.holder, self.settings.claim_s)
        mine = [(job, claim) for job, claim in zip(jobs, claims, strict=True) if claim is not Claim.HELD]
        if not mine:
            return
        standings = await self.messages.standings([job.row_key for job, _ in mine])
        rows = _Rows()
        now = self.clock.wall_ms()
        wanted: list[VendorJob] = []
        for (job, claim), standing in zip(mine, standings, strict=True):
            if not _wanted(standing, job, now):
                if claim is Claim.GRANTED:
                    rows.give_back.append(job.claim)
            elif claim is Claim.DONE:
                self._sent(job, now, rows)
            elif (pause_s := self._blocked_s(job)) > 0:
                rows.give_back.append(job.claim)
                due = now + int(pause_s * 1_000)
                # Taking the row raises its tries by one, and this was no try.
                rows.put.append(_fallback(job, due=due, tries=max(job.tries - 1, 0)))
            else:
                wanted.append(job)
        if wanted:
            await self._settle(wanted, await self._send(wanted), rows)
        await self._write(rows, {job.envelope.id: job.envelope.traceparent for job, _ in mine})

    async def _send(self, jobs: Sequence[VendorJob]) -> list[VendorOutcome]:
        try:
            # The channel has deadlines of its own; this one keeps a call from outliving its claim.
            async with asyncio.timeout(self.settings.claim_s / 2):
                outcomes = await self.channel.send(jobs)
        except TimeoutError:
            return [VendorOutcome(Result.RETRY_AFTER, "no answer in time")] * len(jobs)
        except Exception:  # a fault of an adapter must not stop the others' deliveries: logged, and counted as unknown
            log.exception("vendor channel failed", channel=self.channel.name)
            return [VendorOutcome(Result.UNKNOWN, "adapter failed")] * len(jobs)
        if len(outcomes) != len(jobs):
            log.error("vendor channel answered for other jobs", channel=self.channel.name)
            return [VendorOutcome(Result.UNKNOWN, "adapter failed")] * len(jobs)
        return outcomes

    async def _settle(self, jobs: Sequence[VendorJob], outcomes: Sequence[VendorOutcome], rows: _Rows) -> None:
        now = self.clock.wall_ms()
        may_drop = self._learn(jobs, outcomes)
        refused = [
            job for job, outcome in zip(jobs, outcomes, strict=True) if outcome.result is not Result.DELIVERED_TO_VENDOR
        ]
        reaches = await self.routes.of([(job.envelope.app, job.device) for job in refused])
        reach_of = {job.row_key: reach for job, reach in zip(refused, reaches, strict=True)}
        for job, outcome in zip(jobs, outcomes, strict=True):
            reach = reach_of.get(job.row_key, NOBODY)
            route = reach.first((*job.tried, self.channel.name))
            verdict = judge(outcome, job, self._limits, now=now, another=route is not None)
            if verdict.move is not Move.SENT:
                rows.give_back.append(job.claim)
            registered_since = outcome.invalid_since is not None and reach.updated > outcome.invalid_since
            if verdict.drop_token and may_drop[job.envelope.app] and not registered_since:
                rows.dead.append(DeadToken(job.envelope.app, job.device, self.channel.name, job.token))
            self._follow(job, verdict, now, route, rows)
        self._note(jobs, outcomes, now)

    def _follow(self, job: VendorJob, verdict: Verdict, now: int, route: tuple[str, str] | None, rows: _Rows) -> None:
        match verdict.move:
            case Move.SENT:
                rows.done.append(job.claim)
                self._sent(job, now, rows)
            case Move.RETRY:
                rows.put.append(_fallback(job, due=verdict.due, tries=verdict.tries))
            case Move.NEXT:
                assert route is not None
                rows.jobs.append(
                    job_of(job.envelope, job.device, route, tried=(*job.tried, self.channel.name), tries=job.tries)
                )
            case Move.STAY:
                rows.drop.append(_fallback(job))
                if verdict.reason is not None:
                    inbox = _stored(job, via_vendor=False)
                    rows.changes.append(change(job, State.WAITING, now, verdict.reason, inbox=inbox))
            case Move.END:
                rows.changes.append(change(job, State.UNDELIVERABLE, now, verdict.reason))

    def _sent(self, job: VendorJob, now: int, rows: _Rows) -> None:
        inbox = _stored(job, via_vendor=True)
        rows.changes.append(change(job, State.VENDOR, now, channel=self.channel.name, inbox=inbox))
        rows.drop.append(_fallback(job))

    async def _write(self, rows: _Rows, traces: Mapping[int, str]) -> None:
        if rows.done:
            await self.claims.done(rows.done, self.holder, self.settings.claim_done_s)
        await self.ledger.apply(rows.changes, traces=traces)
        if rows.put:
            await self.messages.put_later(rows.put)
        if rows.drop:
            await self.messages.drop_later(rows.drop)
        await self.routes.drop(rows.dead)
        if rows.give_back:
            await self.claims.give_back(rows.give_back, self.holder)
        if rows.jobs:
            await publish_jobs(self.queues, rows.jobs)

    def _learn(self, jobs: Sequence[VendorJob], outcomes: Sequence[VendorOutcome]) -> dict[str, bool]:
        """Tell breaker and token guard; by app whether its dead tokens may be dropped."""
        now = self.clock.monotonic()
        good: Counter[str] = Counter()
        dead: Counter[str] = Counter()
        for job, outcome in zip(jobs, outcomes, strict=True):
            app = job.envelope.app
            key = self.channel.name, app
            if outcome.result in FAILURES:
                self.breaker.failed(key, now)
            else:
                self.breaker.succeeded(key)
            good[app] += outcome.result is Result.DELIVERED_TO_VENDOR
            dead[app] += outcome.result is Result.TOKEN_INVALID
            if outcome.result is Result.AUTH_EXPIRED:
                log.error("vendor refuses our credentials", channel=self.channel.name, app=app, reason=outcome.reason)
        may_drop = {
            app: self.guard.may_drop((self.channel.name, app), good=good[app], dead=dead[app], now=now) for app in good
        }
        for app, allowed in may_drop.items():
            if dead[app] and not allowed:
                log.error("too many dead tokens at once, none is dropped", channel=self.channel.name, app=app)
        return may_drop

    def _note(self, jobs: Sequence[VendorJob], outcomes: Sequence[VendorOutcome], now: int) -> None:
        for result, n in Counter(outcome.result for outcome in outcomes).items():
            self.metrics.count(Metric.DI_VENDOR_CALLS, n, channel=self.channel.name, outcome=result.value)
        self.trail.write(
            [
                event(
                    job,
                    "vendor_call",
                    now,
                    reason=f"{outcome.result.value}: {outcome.reason}" if outcome.reason else outcome.result.value,
                    channel=self.channel.name,
                )
                for job, outcome in zip(jobs, outcomes, strict=True)
            ]
        )

    def _blocked_s(self, job: VendorJob) -> float:
        return self.breaker.blocked_s((self.channel.name, job.envelope.app), self.clock.monotonic())

    @property
    def _limits(self) -> Limits:
        settings = self.settings
        return Limits(
            settings.vendor_tries, int(settings.vendor_retry_s * 1_000), int(settings.vendor_retry_max_s * 1_000)
        )


def _wanted(standing: Standing | None, job: VendorJob, now: int) -> bool:
    return (
        standing is not None
        and standing.state in OPEN
        and not standing.recalled
        and not standing.vendor
        and job.envelope.expires > now
    )


def _fallback(job: VendorJob, *, due: int = 0, tries: int = 0) -> Later:
    return later(job, Task.FALLBACK, due, tries=tries, replace=True)


def _stored(job: VendorJob, *, via_vendor: bool) -> InboxRow | None:
    """None when the message goes by vendors only."""
    return None if job.envelope.channels is Channels.VENDOR else inbox_row(job.envelope, via_vendor=via_vendor)
