"""What dispatchers and other nodes ask of this one: deliver, kick, poke (`push_core.rpc.port.NodeService`)."""

import asyncio
from collections.abc import Sequence

from push_core.metrics.catalogue import Metric
from push_core.rpc.port import (
    Broadcast,
    Deliver,
    Delivered,
    Kick,
    Offer,
    Poke,
    Stage,
    Subscription,
    Taking,
    Tally,
)
from push_gateway.context import Context
from push_gateway.prepared import Prepared, PreparedPush, PreparedRecall

KICKS_AT_ONCE = 64


class Node:
    def __init__(self, context: Context) -> None:
        self._context = context

    async def deliver(self, call: Deliver) -> Delivered:
        """Large calls are handled in slices, so that devices are heard in between. After each slice the call's deadline is looked at anew."""
        if call.incarnation != self._context.incarnation:
            return Delivered(bytes([Taking.ABSENT]) * sum(len(offer.devices) for offer in call.offers))
        takings = bytearray()
        clock = self._context.clock
        largest = left = self._context.settings.deliver_slice
        now, wall = clock.monotonic(), clock.wall_ms()
        for offer in call.offers:
            if left and len(offer.devices) == 1:  # most: nothing to share
                takings.append(self._offer_one(offer, None, offer.devices[0], call.deadline, now, wall))
                left -= 1
                continue
            prepared: Prepared = (
                PreparedRecall(offer.id)
                if offer.recall
                else PreparedPush(offer.push, again=offer.again, via_vendor=offer.via_vendor)
            )
            devices: Sequence[str] = offer.devices
            while len(devices) > left:
                self._offer(offer, prepared, devices[:left], call.deadline, now, wall, takings)
                devices = devices[left:]
                await asyncio.sleep(0)
                left = largest
                now, wall = clock.monotonic(), clock.wall_ms()
            self._offer(offer, prepared, devices, call.deadline, now, wall, takings)
            left -= len(devices)
        for taking in Taking:
            if n := takings.count(taking):
                self._context.counters.add(Metric.GW_PUSHES, taking.name.lower(), n)
        return Delivered(bytes(takings))

    async def kick(self, kicks: Sequence[Kick]) -> list[bool]:
        found: list[bool] = []
        for number, kick in enumerate(kicks):
            if number % KICKS_AT_ONCE == KICKS_AT_ONCE - 1:
                await asyncio.sleep(0)
            found.append(self._kick(kick))
        return found

    async def poke(self, pokes: Sequence[Poke]) -> None:
        for poke in pokes:
            for connection in self._context.registry.of((poke.app, poke.device)):
                self._context.drains.poke(connection)

    async def broadcast(self, call: Broadcast) -> list[Tally]:
        context = self._context
        if call.incarnation != context.incarnation:
            return [Tally(Stage.ELSEWHERE)] * len(call.casts)
        if context.clock.wall_ms() >= call.deadline:
            return [Tally(Stage.LATE)] * len(call.casts)
        return [context.broadcasts.take(cast) for cast in call.casts]

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> list[bool]:
        topics = self._context.topics
        found: list[bool] = []
        for each in subscriptions:
            connections = list(self._context.registry.of((each.app, each.device)))
            for connection in connections:
                if each.on:
                    topics.add(connection, each.topics)
                else:
                    topics.remove(connection, each.topics)
            found.append(bool(connections))
        return found

    def _offer(
        self,
        offer: Offer,
        prepared: Prepared,
        devices: Sequence[str],
        deadline: int,
        now: float,
        wall: int,
        takings: bytearray,
    ) -> None:
        """Adds a taking for each device."""
        for device in devices:
            takings.append(self._offer_one(offer, prepared, device, deadline, now, wall))

    def _offer_one(
        self, offer: Offer, prepared: Prepared | None, device: str, deadline: int, now: float, wall: int
    ) -> Taking:
        if wall >= deadline or wall >= offer.expires:
            return Taking.EXPIRED
        key = offer.app, device
        registry = self._context.registry
        connection = registry.signed.get(key)
        if connection is None:
            return Taking.FULL if key in registry.joining else Taking.ABSENT
        taking = connection.offer(offer, prepared, now, wall)
        if taking is Taking.FULL:
            self._context.drains.poke(connection)
        return taking

    def _kick(self, kick: Kick) -> bool:
        """A connection that was won by another device's sign-in: its route is not ours to remove. Kicked by an app (any epoch) it is."""
        if kick.incarnation and kick.incarnation != self._context.incarnation:
            return False
        key = kick.app, kick.device
        any_epoch = kick.epoch < 0
        found = [each for each in self._context.registry.of(key) if any_epoch or each.epoch == kick.epoch]
        for connection in found:
            connection.close(kick.code, kick.reason, sign_out=any_epoch)
        return bool(found)
