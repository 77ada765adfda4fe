"""What was given to which node in the last minute, in compact arrays (8 bytes a message), and what to do with it when the node is gone: put
it back, marked as repeats.

A hint that makes recovery fast, never the truth: what is forgotten here is found by the relay.
"""

import time
from array import array
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence

import msgspec
import structlog

from dispatcher.node_client import NodeClients
from dispatcher.publisher import publish_envelopes
from push_core.clock import Monotonic
from push_core.envelope import MAX_BATCH
from push_core.messages.port import Messages
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.presence.port import Node, Presence
from push_core.queues.port import Queues

log = structlog.get_logger(__name__)


class Sent:
    """Ids by life of a node and second. `bound` ids in all: beyond it the oldest second of the node that is told of next goes."""

    def __init__(self, keep_s: float, bound: int, monotonic: Callable[[], Monotonic] = time.monotonic) -> None:
        self._keep_s = keep_s
        self._bound = bound
        self._monotonic = monotonic
        self._by_node: dict[str, deque[tuple[int, array[int]]]] = {}
        self._count = 0
        self.forgotten = 0
        """Ids dropped at the bound so far."""

    def __len__(self) -> int:
        return self._count

    def remember(self, incarnation: str, ids: Iterable[int]) -> None:
        now = self._monotonic()
        second = int(now)
        slots = self._by_node.get(incarnation)
        if slots is None:
            slots = self._by_node[incarnation] = deque()
        if not slots or slots[-1][0] != second:
            self._forget_old(slots, now)
            slots.append((second, array("q")))
        newest = slots[-1][1]
        before = len(newest)
        newest.extend(ids)
        self._count += len(newest) - before
        while self._count > self._bound and len(slots) > 1:
            dropped = len(slots.popleft()[1])
            self._count -= dropped
            self.forgotten += dropped

    def nodes(self) -> list[str]:
        return list(self._by_node)

    def take(self, incarnation: str) -> list[int]:
        """Everything remembered for this life of a node, once each; forgotten with this call."""
        slots = self._by_node.pop(incarnation, deque())
        self._count -= sum(len(ids) for _, ids in slots)
        oldest = self._monotonic() - self._keep_s
        kept: OrderedDict[int, None] = OrderedDict()
        for second, ids in slots:
            if second >= oldest - 1:
                kept.update(dict.fromkeys(ids))
        return list(kept)

    def forget_old(self) -> None:
        now = self._monotonic()
        for incarnation, slots in list(self._by_node.items()):
            self._forget_old(slots, now)
            if not slots:
                del self._by_node[incarnation]

    def _forget_old(self, slots: "deque[tuple[int, array[int]]]", now: float) -> None:
        while slots and slots[0][0] < now - self._keep_s - 1:
            self._count -= len(slots.popleft()[1])


class NodeWatch:
    """Compares what was given to nodes with the nodes that live."""

    def __init__(
        self,
        sent: Sent,
        presence: Presence,
        messages: Messages,
        queues: Queues,
        clients: NodeClients,
        metrics: Metrics,
    ) -> None:
        self._sent = sent
        self._presence = presence
        self._messages = messages
        self._queues = queues
        self._clients = clients
        self._metrics = metrics
        self._told = 0
        self._roles: set[str] = set()
        self._owed: deque[int] = deque()  # ids of gone nodes that are not published again yet

    async def run_once(self) -> int:
        """How many messages were put back. Raises Unavailable; what is not put back then is owed to the next call."""
        alive = await self._presence.nodes()
        incarnations = {node.incarnation for node in alive}
        self._count(alive)
        for incarnation in self._sent.nodes():
            if incarnation not in incarnations:
                ids = self._sent.take(incarnation)
                self._metrics.count(Metric.DI_NODES_LOST)
                log.warning("node gone, its messages are put back", incarnation=incarnation, messages=len(ids))
                self._owed.extend(ids)
        self._sent.forget_old()
        if self._sent.forgotten > self._told:
            self._metrics.count(Metric.DI_SENT_FORGOTTEN, self._sent.forgotten - self._told)
            self._told = self._sent.forgotten
        await self._clients.forget_all_but(alive)
        put_back = 0
        while self._owed:
            ids = [self._owed[index] for index in range(min(MAX_BATCH, len(self._owed)))]
            envelopes = [envelope for envelope in await self._messages.envelopes(ids) if envelope is not None]
            # What the queue refuses is not tried again here: the relay finds it.
            await publish_envelopes(
                self._queues, [msgspec.structs.replace(envelope, repeat=True) for envelope in envelopes]
            )
            for _ in ids:
                self._owed.popleft()
            put_back += len(envelopes)
            self._metrics.count(Metric.DI_RELAY_REPUBLISHED, len(envelopes))
        return put_back

    def _count(self, alive: Sequence[Node]) -> None:
        found = Counter(node.role for node in alive)
        self._roles.update(found)
        for role in self._roles:  # those that are all gone too
            self._metrics.gauge(Metric.DI_NODES, found[role], role=role)
