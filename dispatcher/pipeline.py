"""What happens to a batch of envelopes, from the look at it to the last row: screen, expand, route, offer, settle.

Every step may be repeated: whoever dies between two of them leaves each delivery `accepted` (the relay finds it), in an inbox (a gateway reads
it) or with a later row. Raises Unavailable when a neighbour is down: the batch is given back then and handled again as a repeat.
Decisions are in `screening`, `routing` and `settle`; this file only asks and acts.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import structlog

from dispatcher.actions import Actions
from dispatcher.broadcast import Broadcaster
from dispatcher.delivery import Delivery, event
from dispatcher.expansion import expand
from dispatcher.node_client import NodeClients
from dispatcher.pokes import Poker
from dispatcher.routing import NodeShare, offer_of, share_out
from dispatcher.screening import screen, split_expired, split_repeats
from dispatcher.sent import Sent
from dispatcher.settings import DispatcherSettings
from dispatcher.settle import Settlement, Then, decide
from dispatcher.vendor_routes import NOBODY, VendorRoutes
from dispatcher.whereabouts import Whereabouts
from push_core.clock import Clock
from push_core.devices.port import Devices
from push_core.envelope import Envelope
from push_core.lifecycle import Reason
from push_core.messages.port import Messages
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.models import Channels
from push_core.presence.port import Presence
from push_core.rpc.port import Taking
from push_core.tasks import Crew
from push_core.trail.port import Trail

log = structlog.get_logger(__name__)

Answer = tuple[Delivery, Taking | None]
"""A delivery that the gateway did not simply accept; None: no route."""


@dataclass(slots=True)
class Pipeline:
    messages: Messages
    devices: Devices
    presence: Presence
    whereabouts: Whereabouts
    trail: Trail
    metrics: Metrics
    actions: Actions
    nodes: NodeClients
    poker: Poker
    broadcaster: Broadcaster
    routes: VendorRoutes
    sent: Sent
    crew: Crew  # owns calls that outlive their batch
    settings: DispatcherSettings
    clock: Clock

    async def handle(self, envelopes: Sequence[Envelope], *, redelivered: bool) -> None:
        """Returns when every delivery of the batch is settled: with a gateway, in the store, or put off by a row."""
        screened = screen(
            envelopes,
            redelivered=redelivered,
            now=self.clock.wall_ms(),
            recall_check_after_ms=self.settings.recall_check_after_ms,
        )
        if screened.recalls:
            await self._tell_recalls(screened.recalls)
        named = screened.named
        if screened.ask_recalled:
            recalled = await self.messages.recalled(screened.ask_recalled)
            if recalled:
                named = [delivery for delivery in named if delivery.envelope.id not in recalled]
        if named:
            await self._wave(named)
        if screened.broadcasts:
            await self.broadcaster.handle(screened.broadcasts, redelivered=redelivered)
        if screened.aliases:
            waves = expand(
                screened.aliases,
                self.devices,
                self.messages,
                self.clock.wall_ms,
                redelivered=redelivered,
                page=self.settings.expansion_page,
            )
            async for wave in waves:
                self._trace(wave, "expanded")
                await self._wave(wave)

    async def _wave(self, deliveries: list[Delivery]) -> None:
        if any(delivery.again for delivery in deliveries):
            deliveries = await self._still_to_do(deliveries)
        now = self.clock.wall_ms()
        settlement = Settlement()
        about = deliveries
        deliveries, settlement.changes = split_expired(deliveries, now)
        vendor_only = [delivery for delivery in deliveries if delivery.envelope.channels is Channels.VENDOR]
        if vendor_only:
            await self._vendor_road(vendor_only, settlement)
            deliveries = [delivery for delivery in deliveries if delivery.envelope.channels is not Channels.VENDOR]
        if deliveries:
            answers = await self._long_road(deliveries)
            await self._settle(answers, settlement)
        await self.actions.carry_out(settlement, about)

    async def _still_to_do(self, deliveries: list[Delivery]) -> list[Delivery]:
        repeats = [delivery for delivery in deliveries if delivery.again]
        standings = await self.messages.standings([delivery.row_key for delivery in repeats])
        handle, in_inbox = split_repeats(repeats, standings)
        self.metrics.count(Metric.DI_REPEATS_DROPPED, len(repeats) - len(handle))
        if in_inbox:
            await self.actions.poke(in_inbox)  # whoever stored them may have died before telling
        return [*(delivery for delivery in deliveries if not delivery.again), *handle]

    # ── the long connection ───────────────────────────────────────────────────────────────────────────────────────────

    async def _long_road(self, deliveries: list[Delivery]) -> list[Answer]:
        located = await self.whereabouts.first([delivery.key for delivery in deliveries])
        shares, nowhere = share_out(deliveries, located)
        answers: list[Answer] = [(delivery, None) for delivery in nowhere]
        if not shares:
            return answers
        loop = asyncio.get_running_loop()
        patience_s = [self.nodes.of(share.node).patience_s for share in shares]
        calls = {loop.create_task(self._offer(share), name="offer"): share for share in shares}
        try:
            done, waiting = await _each_in_its_time(list(calls), patience_s)
        except asyncio.CancelledError:
            for call in calls:
                call.cancel()
            raise
        for call in waiting:
            # Its deliveries are put off now, by rows, so that the batch waits no longer; what the node says later is settled then.
            answers.extend((delivery, Taking.UNKNOWN) for delivery in calls[call].deliveries)
            self.crew.start("late answer", self._late(call))
        failures = [failure for call in done if (failure := call.exception()) is not None]
        if failures:
            raise failures[0]
        for call in done:
            answers.extend(call.result())
        return answers

    async def _late(self, call: "asyncio.Task[list[Answer]]") -> None:
        answers = [(delivery, taking) for delivery, taking in await call if taking is not Taking.UNKNOWN]
        if answers:
            settlement = Settlement()
            await self._settle(answers, settlement)
            await self.actions.carry_out(settlement, [delivery for delivery, _ in answers])

    async def _offer(self, share: NodeShare, *, tried: bool = False) -> list[Answer]:
        """What was not simply accepted. An offer that certainly did not reach the node is tried once more where the device is now."""
        takings = await self.nodes.of(share.node).deliver(share.offers, share.deliveries[0].envelope.traceparent)
        if not any(takings):  # all ACCEPTED
            self.sent.remember(share.node.incarnation, [offer.id for offer in share.offers])
            self.metrics.count(Metric.DI_OUTCOMES, len(takings), outcome="accepted")
            self._trace(share.deliveries, "offered", node=share.node.name)
            return []
        accepted: list[Delivery] = []
        unknown: list[int] = []
        not_reached: list[Delivery] = []
        answers: list[Answer] = []
        absent = []
        for delivery, route, taking in zip(share.deliveries, share.routes, takings, strict=True):
            if taking == Taking.ACCEPTED:
                accepted.append(delivery)
            elif taking == Taking.NOT_REACHED:
                not_reached.append(delivery)
            elif taking == Taking.ABSENT:
                absent.append(route)
                if self.whereabouts.may_be_old and not tried:
                    not_reached.append(delivery)  # by a route from a moment ago: where is it now?
                else:
                    answers.append((delivery, None))
            else:
                if taking == Taking.UNKNOWN:
                    unknown.append(delivery.envelope.id)
                answers.append((delivery, Taking(taking)))
        self._count(takings)
        if accepted:
            self.sent.remember(share.node.incarnation, dict.fromkeys(delivery.envelope.id for delivery in accepted))
            self._trace(accepted, "offered", node=share.node.name)
        if unknown:  # if the node is gone, nobody waits for their ack deadline
            self.sent.remember(share.node.incarnation, dict.fromkeys(unknown))
        if absent:
            await self.presence.sign_out(absent)  # exactly these: a newer connection's route stays
        if not_reached:
            if tried:
                answers.extend((delivery, Taking.NOT_REACHED) for delivery in not_reached)
            else:
                answers.extend(await self._offer_again(not_reached))
        return answers

    async def _offer_again(self, deliveries: list[Delivery]) -> list[Answer]:
        shares, nowhere = share_out(deliveries, await self.whereabouts.now([delivery.key for delivery in deliveries]))
        answers: list[Answer] = [(delivery, None) for delivery in nowhere]
        for part in await asyncio.gather(*(self._offer(share, tried=True) for share in shares)):
            answers.extend(part)
        return answers

    # ── settling ──────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _settle(self, answers: Sequence[Answer], settlement: Settlement) -> None:
        if not answers:
            return
        now = self.clock.wall_ms()
        asked = [
            delivery.key
            for delivery, taking in answers
            if taking in (None, Taking.FULL, Taking.NOT_REACHED)
            and delivery.envelope.channels is Channels.AUTO
            and not delivery.envelope.live_only
        ]
        reaches = dict(zip(asked, await self.routes.of(asked), strict=True))
        net_ms = int(self.settings.vendor_net_s * 1_000)
        put_off: list[Delivery] = []
        for delivery, taking in answers:
            envelope = delivery.envelope
            route = reaches.get(delivery.key, NOBODY).first()
            then = decide(
                taking,
                envelope.channels,
                live_only=envelope.live_only,
                expired=envelope.expires <= now,
                vendor=route is not None,
            )
            reason = Reason.FULL if taking is Taking.FULL else Reason.OFFLINE
            settlement.add(then, delivery, now=now, reason=reason, net_ms=net_ms, route=route)
            if then is Then.PUT_OFF or then is Then.PUT_OFF_LIVE:
                put_off.append(delivery)
        if put_off:
            self._trace(put_off, "put_off")

    async def _vendor_road(self, deliveries: Sequence[Delivery], settlement: Settlement) -> None:
        now = self.clock.wall_ms()
        net_ms = int(self.settings.vendor_net_s * 1_000)
        reaches = await self.routes.of([delivery.key for delivery in deliveries])
        for delivery, reach in zip(deliveries, reaches, strict=True):
            settlement.add_vendor_only(delivery, now=now, net_ms=net_ms, route=reach.first(), blocked=reach.blocked)

    # ── recalls ───────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _tell_recalls(self, recalls: Sequence[Envelope]) -> None:
        """Best effort for who is connected: a row in each device's inbox stays until the device was told."""
        deliveries = [Delivery(envelope, device) for envelope in recalls for device in envelope.devices]
        shares, _ = share_out(deliveries, await self.presence.locate([delivery.key for delivery in deliveries]))
        await asyncio.gather(*(self._recall_at(share) for share in shares))

    async def _recall_at(self, share: NodeShare) -> None:
        offers = [offer_of(delivery.envelope, [delivery.device], recall=True) for delivery in share.deliveries]
        takings = await self.nodes.of(share.node).deliver(offers, share.deliveries[0].envelope.traceparent)
        absent, unsure = [], []
        for delivery, route, taking in zip(share.deliveries, share.routes, takings, strict=True):
            if taking == Taking.ABSENT:
                absent.append(route)
            if taking != Taking.ACCEPTED:
                unsure.append(delivery.key)
        if absent:
            await self.presence.sign_out(absent)
        if unsure:
            await self.poker.poke(unsure)

    # ── what others are told ──────────────────────────────────────────────────────────────────────────────────────────

    def _count(self, takings: bytes) -> None:
        for taking, n in Counter(takings).items():
            self.metrics.count(Metric.DI_OUTCOMES, n, outcome=Taking(taking).name.lower())

    def _trace(self, deliveries: Sequence[Delivery], step: str, *, node: str = "") -> None:
        now = self.clock.wall_ms()
        channel = "long" if node else ""
        self.trail.write([event(delivery, step, now, channel=channel, node=node) for delivery in deliveries])


async def _each_in_its_time(
    calls: Sequence["asyncio.Task[list[Answer]]"], patience_s: Sequence[float]
) -> "tuple[list[asyncio.Task[list[Answer]]], list[asyncio.Task[list[Answer]]]]":
    """Those that ended, and those that were not waited for any longer, each for its own time."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    waiting = list(calls)
    for seconds in sorted(set(patience_s)):
        in_time = [call for call, patience in zip(calls, patience_s, strict=True) if patience >= seconds]
        await asyncio.wait(in_time, timeout=max(0.0, began + seconds - loop.time()))
        waiting = [call for call in calls if not call.done()]
        if not waiting:
            break
    return [call for call in calls if call.done()], waiting
