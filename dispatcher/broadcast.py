"""Live broadcasts: given to every gateway of the zone, and asked about until their time is over.

There is nothing to be routed and no delivery to be kept. A gateway takes a cast once, however often it is told, and says each time what it
has counted: so the first call, its repetition when an answer was lost, and the later looks for acks are one and the same call. Between looks a
row with a time holds the message; a dispatcher that dies leaves it to the next one, and a gateway that dies takes no more with it than what it had
not been asked yet. When its time is over a broadcast ends, whoever answers.
"""

import asyncio
from collections.abc import Iterable, Sequence

import structlog

from dispatcher.node_client import NodeClients
from dispatcher.settings import DispatcherSettings
from push_core.clock import Clock, WallMs
from push_core.envelope import Envelope
from push_core.errors import Unavailable
from push_core.lifecycle import Reason, State
from push_core.messages.port import Later, Messages, NodeCount, Task
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.presence.port import GATEWAY, Node, Presence
from push_core.rpc.port import Broadcast, Cast, Peers, Stage, Tally
from push_core.trail.port import Event, Trail

log = structlog.get_logger(__name__)

FIRST_LOOK_MS, LONGEST_LOOK_MS = 500, 60_000  # after the first call, doubling
LAST_LOOK_MS = 500  # after the time of a broadcast is over: acks are on their way

Answers = list[tuple[Node, Sequence[Tally]]]
"""What the nodes that answered said, a tally for each envelope."""


class Broadcaster:
    def __init__(
        self,
        messages: Messages,
        presence: Presence,
        peers: Peers,
        nodes: NodeClients,
        trail: Trail,
        metrics: Metrics,
        settings: DispatcherSettings,
        clock: Clock,
    ) -> None:
        self._messages = messages
        self._presence = presence
        self._peers = peers
        self._nodes = nodes
        self._trail = trail
        self._metrics = metrics
        self._zone = settings.zone
        self._timeout_s = min(settings.call_timeout_s, settings.silent_node_s)
        self._clock = clock

    async def handle(self, envelopes: Sequence[Envelope], *, redelivered: bool) -> None:
        """One look at each: told to all gateways, counted, and ended or held by a row until the next look. Raises Unavailable."""
        recalled = await self._messages.recalled([envelope.id for envelope in envelopes])
        envelopes = [envelope for envelope in envelopes if envelope.id not in recalled]
        if not envelopes:
            return
        now = self._clock.wall_ms()
        over = [envelope for envelope in envelopes if now >= envelope.expires + LAST_LOOK_MS]
        going_on = [envelope for envelope in envelopes if now < envelope.expires + LAST_LOOK_MS]
        # First of all: whoever dies from here on leaves a message that is looked at again.
        if going_on:
            await self._messages.put_later([_next_look(envelope, now) for envelope in going_on])
        answers, all_answered = await self._ask(envelopes, redelivered=redelivered, patient=bool(going_on))
        counts = [
            NodeCount(
                id=envelope.id,
                app=envelope.app,
                node=node.incarnation,
                written=tally.written,
                full=tally.full,
                acked=tally.acked,
                refused=tally.refused,
            )
            for node, tallies in answers
            for envelope, tally in zip(envelopes, tallies, strict=True)
            if tally.written or tally.full
        ]
        if counts:
            await self._messages.count(counts)
        settled = all_answered and bool(answers)
        done = [
            envelope
            for place, envelope in enumerate(envelopes)
            if settled and envelope not in over and _everybody_acked(tallies[place] for _, tallies in answers)
        ]
        self._told(going_on, now)
        await self._end([*over, *done])

    async def _ask(self, envelopes: Sequence[Envelope], *, redelivered: bool, patient: bool) -> tuple[Answers, bool]:
        """What the gateways say, and whether all did. Not `patient`: all that is asked about has to end, whether presence answers or not."""
        try:
            nodes = [node for node in await self._presence.nodes() if (node.role, node.zone) == (GATEWAY, self._zone)]
        except Unavailable:
            if patient:
                raise
            return [], False
        casts = [
            Cast(
                id=envelope.id,
                app=envelope.app,
                topic=envelope.topic,
                push=envelope.push,
                expires=envelope.expires,
                again=redelivered or envelope.repeat,
            )
            for envelope in envelopes
        ]
        trace = envelopes[0].traceparent
        tallies = await asyncio.gather(*(self._tell(node, casts, trace) for node in nodes))
        answers = [(node, said) for node, said in zip(nodes, tallies, strict=True) if said is not None]
        return answers, len(answers) == len(nodes)

    async def _tell(self, node: Node, casts: Sequence[Cast], trace: str) -> Sequence[Tally] | None:
        """None: it is told at the next look."""
        if self._nodes.holding_up(node.incarnation):
            self._metrics.count(Metric.DI_BROADCASTS, len(casts), outcome="unreached")
            return None
        deadline = self._clock.wall_ms() + int(self._timeout_s * 1_000)
        call = Broadcast(node.incarnation, deadline, list(casts), trace)
        try:
            said = await self._peers.broadcast(node.address, call, timeout_s=self._timeout_s)
        except Unavailable as error:
            log.warning(
                "a gateway could not be told of broadcasts; it is asked again", node=node.name, error=error.message
            )
            self._metrics.count(Metric.DI_BROADCASTS, len(casts), outcome="unreached")
            return None
        if len(said) != len(casts):
            log.error("answer of wrong length", node=node.name, expected=len(casts), got=len(said))
            return None
        for tally in said:
            self._metrics.count(Metric.DI_BROADCASTS, outcome=tally.stage.name.lower())
        return said

    async def _end(self, envelopes: Sequence[Envelope]) -> None:
        if not envelopes:
            return
        asks = [(envelope.app, envelope.id) for envelope in envelopes]
        views = await self._messages.get(asks, limit=1)
        ends: list[tuple[int, str, Reason | None]] = []
        for envelope, view in zip(envelopes, views, strict=True):
            counts = view.counts if view is not None else {}
            if not counts:
                reason = Reason.NOT_CONNECTED
            elif counts.get(State.DELIVERED) or counts.get(State.UNDELIVERABLE):
                reason = None
            else:
                reason = Reason.NOT_ACKED
            ends.append((envelope.id, envelope.app, reason))
        now = self._clock.wall_ms()
        await self._messages.expanded(ends, now=now)
        await self._messages.drop_later([_row(envelope, now) for envelope in envelopes])
        self._metrics.count(Metric.DI_BROADCASTS, len(ends), outcome="ended")
        self._trail.write(
            [
                Event(at=now, id=message_id, app=app, device="", step="broadcast_ended", reason=reason or "")
                for message_id, app, reason in ends
            ]
        )

    def _told(self, envelopes: Sequence[Envelope], now: WallMs) -> None:
        first = [envelope for envelope in envelopes if not envelope.repeat]
        self._trail.write(
            [
                Event(at=now, id=each.id, app=each.app, device="", step="broadcast", traceparent=each.traceparent)
                for each in first
            ]
        )


def _everybody_acked(tallies: Iterable[Tally]) -> bool:
    """Whether nothing more can come: every gateway has looked at everybody, and everybody has answered."""
    return all(tally.stage is Stage.DONE and tally.written == tally.acked + tally.refused for tally in tallies)


def _next_look(envelope: Envelope, now: WallMs) -> Later:
    """As long ahead as the broadcast is old, so that a long wait for acks costs few looks."""
    ahead = min(max(now - envelope.sent, FIRST_LOOK_MS), LONGEST_LOOK_MS)
    return _row(envelope, min(now + ahead, max(envelope.expires + LAST_LOOK_MS, now)))


def _row(envelope: Envelope, due: WallMs) -> Later:
    """The relay's own kind of row: it publishes the message again, marked as a repeat, whichever release runs it."""
    return Later(id=envelope.id, app=envelope.app, device="", task=Task.REPUBLISH, due=due, replace=True)
