"""Accepting messages: drafts in, ids out, everything durable in between.

Requests arriving together are committed together. Ids are made right before the commit, so that none grows old in a queue, and the
committed envelopes go to the publisher before the callers hear of it. A caller that goes away changes none of that.
"""

import time
from collections.abc import Callable, Sequence

from msgspec import Struct

from push_api.deadlines import within
from push_api.drafts import Draft, envelope_of
from push_api.issuing import Issuing
from push_api.publisher import Publisher
from push_core.batching import Batcher
from push_core.clock import Clock
from push_core.envelope import Envelope
from push_core.errors import Overloaded, TacoError, Unavailable, UserError
from push_core.lifecycle import State
from push_core.messages.port import Commit, Committed, Messages, NewMessage, Partly
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.models import App
from push_core.shards import shard_for_key
from push_core.trail.port import Event, Trail

Outcome = int | TacoError
"""The id of an accepted message, or why it was not accepted."""


class Group(Struct, frozen=True):
    """The messages of one request."""

    app: App
    drafts: Sequence[Draft]
    traceparent: str


class Acceptance:
    """`shards` gives the shards of this zone as they stand now. The rest as in the settings."""

    def __init__(
        self,
        messages: Messages,
        issuing: Issuing,
        publisher: Publisher,
        trail: Trail,
        metrics: Metrics,
        clock: Clock,
        *,
        shards: Callable[[], Sequence[int]],
        largest: int,
        parallel: int,
        bound: int,
        timeout_s: float,
        collision_tries: int,
        every_s: float = 0.0,
    ) -> None:
        self._messages = messages
        self._issuing = issuing
        self._publisher = publisher
        self._trail = trail
        self._metrics = metrics
        self._clock = clock
        self._shards = shards
        self._timeout_s = timeout_s
        self._tries = collision_tries
        self._under_way = 0
        self._commits: Batcher[Group, list[Outcome]] = Batcher(
            self._commit_groups,
            largest=largest,
            bound=bound,
            parallel=parallel,
            every_s=every_s,
            name="api.commit",
            size=_size,
        )

    async def accept(self, app: App, drafts: Sequence[Draft], traceparent: str) -> list[Outcome]:
        """One outcome for each draft, in order: durable when this returns. Raises Unavailable when none was accepted, or it isn't known."""
        if self._publisher.room < len(drafts) + len(self._commits) + self._under_way:
            raise Overloaded("too many messages are waiting for the queue")
        return await self._commits.submit(Group(app, drafts, traceparent))

    async def close(self) -> None:
        """Take nothing more; return when what was taken is committed or refused."""
        await self._commits.close()

    async def _commit_groups(self, groups: Sequence[Group]) -> list[list[Outcome]]:
        items = [(group, draft) for group in groups for draft in group.drafts]
        self._under_way += len(items)
        began = time.perf_counter()
        try:
            outcomes = await self._commit(items)
        finally:
            self._under_way -= len(items)
        self._metrics.timing(Metric.API_COMMIT_SECONDS, time.perf_counter() - began)
        self._metrics.gauge(Metric.API_COMMIT_BATCH, len(items))
        results, at = [], 0
        for group in groups:
            results.append(outcomes[at : at + len(group.drafts)])
            at += len(group.drafts)
        return results

    async def _commit(self, items: Sequence[tuple[Group, Draft]]) -> list[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(items)
        todo = list(range(len(items)))
        for attempt in range(self._tries + 1):
            try:
                envelopes = await self._envelopes([items[index] for index in todo])
                committed = await self._write([items[index][1] for index in todo], envelopes)
            except TacoError as error:
                if attempt == 0:
                    raise
                for index in todo:  # the others are committed already: only what is left has failed
                    outcomes[index] = error
                break
            taken, again = [], []
            for index, envelope, answer in zip(todo, envelopes, committed, strict=True):
                if isinstance(answer, TacoError):  # its store is away, others took theirs
                    outcomes[index] = answer
                elif answer.outcome is Commit.DONE:
                    taken.append(envelope)
                    outcomes[index] = answer.id
                elif answer.outcome is Commit.REPLAY:
                    outcomes[index] = answer.id
                elif answer.outcome is Commit.CONFLICT:
                    outcomes[index] = UserError(
                        "the idempotency key was used for another message",
                        code="idempotency_conflict",
                        field="idempotency_key",
                    )
                else:
                    again.append(index)
            self._hand_on(taken)
            todo = again
            if not todo:
                break
        taken_ids = Unavailable("no store took the message: the ids were taken, or the stores of their shards are away")
        return [taken_ids if outcome is None else outcome for outcome in outcomes]

    async def _envelopes(self, items: Sequence[tuple[Group, Draft]]) -> list[Envelope]:
        shards = self._shards()
        now = self._clock.wall_ms()
        envelopes = []
        for group, draft in items:
            where = shards if draft.key is None else _home(group.app, draft.key, shards)
            made = self._issuing.try_make(where, now)
            if made is None:
                made = await self._issuing.make(where)
                now = self._clock.wall_ms()
            envelopes.append(envelope_of(draft, made, group.app, now, group.traceparent))
        return envelopes

    async def _write(self, drafts: Sequence[Draft], envelopes: Sequence[Envelope]) -> Sequence[Committed | TacoError]:
        batch = [
            NewMessage(envelope=envelope, idempotency_key=draft.key, digest=draft.digest)
            for draft, envelope in zip(drafts, envelopes, strict=True)
        ]
        call = self._messages.commit(batch, now=self._clock.wall_ms())
        try:
            return await within(self._timeout_s, "the message store", call)
        except Partly as partly:
            return partly.results

    def _hand_on(self, envelopes: Sequence[Envelope]) -> None:
        self._publisher.give(envelopes)
        self._trail.write(
            [
                Event(
                    at=envelope.sent,
                    id=envelope.id,
                    app=envelope.app,
                    device=envelope.devices[0] if len(envelope.devices) == 1 else "",
                    step=State.ACCEPTED,
                    traceparent=envelope.traceparent,
                )
                for envelope in envelopes
            ]
        )


def _size(group: Group) -> int:
    return len(group.drafts)


def _home(app: App, key: str, shards: Sequence[int]) -> Sequence[int]:
    return (shard_for_key(app.name, key, shards),) if shards else ()
