"""The calling side towards gateways: offers of concurrent batches share calls to a node, and a node that does not answer is noticed and
left alone, so that it holds up nobody else's batches.

Answers are bytes, one `Taking` for each device of each offer: what a gateway says, or UNKNOWN (the call ended without an answer), or
NOT_REACHED (it certainly did nothing).
"""

import asyncio
from collections.abc import Callable, Sequence

import structlog

from dispatcher.routing import pack
from dispatcher.settings import DispatcherSettings
from push_core.batching import Batcher
from push_core.clock import Clock
from push_core.errors import DeadlineExceeded, Overloaded, Unavailable
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.presence.port import Node
from push_core.rpc.port import Deliver, Offer, Peers, Taking

log = structlog.get_logger(__name__)
LISTS_PER_CALL = 16

Given = tuple[Sequence[Offer], str]


class NodeClient:
    """One life of a node."""

    def __init__(self, node: Node, peers: Peers, settings: DispatcherSettings, clock: Clock, metrics: Metrics) -> None:
        self.node = node
        self._peers = peers
        self._settings = settings
        self._clock = clock
        self._metrics = metrics
        self._began: dict[int, float] = {}  # calls under way, oldest first
        self._calls = 0
        self._suspect = False
        self._unreached_since: float | None = None
        self._batcher: Batcher[Given, bytes] = Batcher(
            self._work,
            largest=LISTS_PER_CALL,
            bound=settings.node_bound,
            parallel=settings.calls_per_node,
            name=f"node {node.name}",
        )

    @property
    def holding_up(self) -> bool:
        """Whether it is better not to wait for this node: a call has been without an answer for long, or the last one ended
        without and the next is not decided yet."""
        if not self._began:
            return False
        oldest = next(iter(self._began.values()))
        return self._suspect or self._clock.monotonic() - oldest >= self._settings.silent_node_s

    @property
    def patience_s(self) -> float:
        """How long a batch should wait for an answer: what a call under way has waited already counts, so that a node which stops answering costs
        all batches together `slow_node_s`, and not each of them."""
        if not self._began or self.holding_up:  # then `deliver` answers at once
            return self._settings.slow_node_s
        oldest = next(iter(self._began.values()))
        return max(0.0, self._settings.slow_node_s - (self._clock.monotonic() - oldest))

    @property
    def unreached_s(self) -> float:
        """For how long every call has found nobody at the address; 0 if the last one found somebody, however it ended."""
        since = self._unreached_since
        return 0.0 if since is None else self._clock.monotonic() - since

    async def deliver(self, offers: Sequence[Offer], traceparent: str) -> bytes:
        """Never raises for what becomes of the call."""
        devices = sum(len(offer.devices) for offer in offers)
        if self.holding_up:
            return bytes((Taking.NOT_REACHED,)) * devices
        try:
            return await self._batcher.submit((offers, traceparent))
        except Unavailable:  # its line is full
            return bytes((Taking.NOT_REACHED,)) * devices

    async def close(self) -> None:
        await self._batcher.close()

    async def _work(self, lists: Sequence[Given]) -> list[bytes]:
        offers = [offer for given, _ in lists for offer in given]
        settings = self._settings
        parts = list(pack(offers, most_offers=settings.offers_per_call, most_devices=settings.devices_per_call))
        if len(parts) == 1:
            answers = [await self._call(parts[0], lists[0][1])]
        else:
            answers = await asyncio.gather(*(self._call(part, lists[0][1]) for part in parts))
        takings = b"".join(answers)
        if len(lists) == 1:
            return [takings]
        results, start = [], 0
        for given, _ in lists:
            end = start + sum(len(offer.devices) for offer in given)
            results.append(takings[start:end])
            start = end
        return results

    async def _call(self, offers: list[Offer], traceparent: str) -> bytes:
        timeout_s = self._settings.call_timeout_s
        devices = sum(len(offer.devices) for offer in offers)
        deadline = self._clock.wall_ms() + int(timeout_s * 1_000)
        self._calls += 1
        call = self._calls
        began = self._began[call] = self._clock.monotonic()
        try:
            delivered = await self._peers.deliver(
                self.node.address, Deliver(self.node.incarnation, deadline, offers, traceparent), timeout_s=timeout_s
            )
        except DeadlineExceeded as error:
            self._suspect = True
            self._unreached_since = None
            log.warning("node did not answer", node=self.node.name, error=str(error))
            return bytes((Taking.UNKNOWN,)) * devices
        except Unavailable as error:
            self._suspect = not isinstance(error, Overloaded)
            if not self._suspect:
                self._unreached_since = None
            elif self._unreached_since is None:
                self._unreached_since = began
            log.warning("node not reached", node=self.node.name, error=str(error))
            return bytes((Taking.NOT_REACHED,)) * devices
        finally:
            del self._began[call]
            self._metrics.timing(Metric.DI_NODE_CALL_SECONDS, self._clock.monotonic() - began)
        self._suspect = False
        self._unreached_since = None
        if len(delivered.takings) != devices:
            log.error("answer of wrong length", node=self.node.name, expected=devices, got=len(delivered.takings))
            return bytes((Taking.UNKNOWN,)) * devices
        return delivered.takings


class NodeClients:
    """A client for each life of a node, made on first use, closed when the node is gone."""

    def __init__(self, peers: Peers, settings: DispatcherSettings, clock: Clock, metrics: Metrics) -> None:
        self._make: Callable[[Node], NodeClient] = lambda node: NodeClient(node, peers, settings, clock, metrics)
        self._peers = peers
        self._clients: dict[str, NodeClient] = {}

    def of(self, node: Node) -> NodeClient:
        client = self._clients.get(node.incarnation)
        if client is None:
            client = self._clients[node.incarnation] = self._make(node)
        return client

    def holding_up(self, incarnation: str) -> bool:
        client = self._clients.get(incarnation)
        return client is not None and client.holding_up

    def unreached_s(self, incarnation: str) -> float:
        client = self._clients.get(incarnation)
        return 0.0 if client is None else client.unreached_s

    async def forget_all_but(self, alive: Sequence[Node]) -> None:
        """Close the clients of nodes that are gone, and the connections to addresses that nobody has any more."""
        incarnations = {node.incarnation for node in alive}
        addresses = {node.address for node in alive}
        for incarnation in [known for known in self._clients if known not in incarnations]:
            client = self._clients.pop(incarnation)
            if client.node.address not in addresses:
                await self._peers.forget(client.node.address)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._clients.clear()
