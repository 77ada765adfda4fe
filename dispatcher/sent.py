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
from push_core.clock import Monotonic, WallMs
from push_core.envelope import Envelope
from push_core.messages.port import Later, Messages, Task
from push_core.metrics.catalogue import Metric
from push_core.metrics.port import Metrics
from push_core.presence.port import Node, Presence
from push_core.queues.port import Published, Queues

log = structlog.get_logger(__name__)
_PAGE = 1_000


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
    """Compares what was given to nodes with the nodes that live. Gone is a life whose lease has run out; sooner than that, one whose address has
    a later life by now, and one that nobody was found at for `unreached_s`."""

    def __init__(
        self,
        sent: Sent,
        presence: Presence,
        messages: Messages,
        queues: Queues,
        clients: NodeClients,
        metrics: Metrics,
        wall_ms: Callable[[], WallMs],
        *,
        unreached_s: float = 3.0,
    ) -> None:
        self._sent = sent
        self._presence = presence
        self._messages = messages
        self._queues = queues
        self._clients = clients
        self._metrics = metrics
        self._wall_ms = wall_ms
        self._unreached_s = unreached_s
        self._told = 0
        self._roles: set[str] = set()
        self._looks = 0
        self._seen: dict[str, int] = {}  # lives by the look that found them first
        self._owed: set[int] = set()  # ids of gone nodes that are not published again yet
        self._after = (0, "")

    async def run_once(self) -> int:
        """How many deliveries were put back: those that are still open. Raises Unavailable; what is not put back then is owed to the next call."""
        alive = await self._presence.nodes()
        self._count(alive)
        for incarnation, why in self._gone(alive):
            ids = self._sent.take(incarnation)
            self._metrics.count(Metric.DI_NODES_LOST)
            log.warning("node gone, what it had is put back", incarnation=incarnation, reason=why, messages=len(ids))
            self._owed.update(ids)
            self._after = (0, "")
        self._sent.forget_old()
        if self._sent.forgotten > self._told:
            self._metrics.count(Metric.DI_SENT_FORGOTTEN, self._sent.forgotten - self._told)
            self._told = self._sent.forgotten
        await self._clients.forget_all_but(alive)
        return await self._put_back()

    def _gone(self, alive: Sequence[Node]) -> list[tuple[str, str]]:
        """Lives that were given something, with the reason."""
        self._looks += 1
        lives = {node.incarnation: node for node in alive}
        self._seen = {life: self._seen.get(life, self._looks) for life in lives}
        newest: dict[str, int] = {}
        for life, node in lives.items():
            newest[node.address] = max(newest.get(node.address, 0), self._seen[life])
        gone = []
        for life in self._sent.nodes():
            if life not in lives:
                gone.append((life, "its lease has run out"))
            elif self._seen[life] < newest[lives[life].address]:
                gone.append((life, "another one has its address"))
            elif self._clients.unreached_s(life) >= self._unreached_s:
                gone.append((life, "nobody is found at its address"))
        return gone

    async def _put_back(self) -> int:
        put_back = 0
        while self._owed:
            rows = await self._messages.open_between(min(self._owed), max(self._owed), after=self._after, limit=_PAGE)
            devices: dict[int, list[str]] = {}
            for message_id, _, device in rows:
                if message_id in self._owed:
                    devices.setdefault(message_id, []).append(device)
            found = await self._messages.envelopes(list(devices))
            repeats = [_repeat(envelope, devices[envelope.id]) for envelope in found if envelope is not None]
            outcomes = await publish_envelopes(self._queues, repeats)
            # What a full queue refused is left to the relay's next look: it has enough. Of what may not be queued the relay is told.
            not_told = {
                one.id for one, outcome in zip(repeats, outcomes, strict=True) if outcome is Published.UNCONFIRMED
            }
            if not_told:
                now = self._wall_ms()
                await self._messages.put_later(
                    [
                        Later(id=message_id, app=app, device=device, task=Task.REPUBLISH, due=now)
                        for message_id, app, device in rows
                        if message_id in not_told
                    ]
                )
            put_back += sum(map(len, devices.values()))
            self._metrics.count(Metric.DI_RELAY_REPUBLISHED, len(devices))
            if len(rows) < _PAGE:
                self._owed.clear()
            else:
                self._after = rows[-1][0], rows[-1][2]
        return put_back

    def _count(self, alive: Sequence[Node]) -> None:
        found = Counter(node.role for node in alive)
        self._roles.update(found)
        for role in self._roles:  # those that are all gone too
            self._metrics.gauge(Metric.DI_NODES, found[role], role=role)


def _repeat(envelope: Envelope, devices: list[str]) -> Envelope:
    """For the devices that are open; for all of them while it is not expanded (device "")."""
    if "" in devices:
        return msgspec.structs.replace(envelope, repeat=True)
    return msgspec.structs.replace(envelope, devices=devices, alias=None, repeat=True)
