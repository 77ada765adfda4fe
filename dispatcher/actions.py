"""Carries a settlement out, in the order that a crash forgives: rows with a time, then the moves of deliveries, then vendors' queues, then pokes."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dispatcher.delivery import Delivery, later
from dispatcher.fallback.jobs import job_of, publish_jobs
from dispatcher.ledger import Ledger
from dispatcher.pace import Gaps
from dispatcher.pokes import Poker
from dispatcher.settle import Settlement
from push_core.clock import Clock
from push_core.messages.port import Applied, Messages, Task
from push_core.models import DeviceKey
from push_core.queues.port import Queues


@dataclass(frozen=True, slots=True)
class Actions:
    messages: Messages
    queues: Queues
    ledger: Ledger
    poker: Poker
    clock: Clock
    told_again: Gaps
    """When a gateway that could not be told of what waits is told again."""

    async def carry_out(self, settlement: Settlement, about: Iterable[Delivery] = ()) -> list[Applied]:
        """What became of the settlement's changes; `about` are deliveries whose trace ids the trail should carry, besides those that are
        stored. Raises Unavailable: to be carried out again."""
        if settlement.later:
            await self.messages.put_later(settlement.later)
        if not settlement.changes:
            return []
        traced = (*about, *settlement.stored)
        traces = {delivery.envelope.id: delivery.envelope.traceparent for delivery in traced}
        applied = await self.ledger.apply(settlement.changes, traces=traces)
        jobs = [
            job_of(wish.delivery.envelope, wish.delivery.device, (wish.channel, wish.token))
            for index, wish in settlement.wishes.items()
            if applied[index] is Applied.MADE
        ]
        if jobs:
            await publish_jobs(self.queues, jobs)  # refused ones are taken up by their later row
        if settlement.stored:
            await self.poke(settlement.stored)
        return applied

    async def poke(self, stored: Sequence[Delivery]) -> set[DeviceKey]:
        """Tell the gateways of devices that are connected now that something waits for them. Those not told have a row each: to be told again."""
        not_told = await self.poker.poke(delivery.key for delivery in stored)
        if not_told:
            # A connected device whose gateway does not know of the row would wait until it reconnects.
            now = self.clock.wall_ms()
            await self.messages.put_later(
                [
                    later(delivery, Task.REPUBLISH, now + self.told_again.first_ms)
                    for delivery in stored
                    if delivery.key in not_told
                ]
            )
        return not_told
