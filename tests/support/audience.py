"""For doubles of a gateway that nobody broadcasts through."""

from collections.abc import Sequence

from push_core.rpc.port import Broadcast, Subscription, Tally


class NoAudience:
    async def broadcast(self, call: Broadcast) -> list[Tally]:
        raise AssertionError(f"nobody is to broadcast here: {call}")

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> list[bool]:
        raise AssertionError(f"nobody is to subscribe here: {subscriptions}")
