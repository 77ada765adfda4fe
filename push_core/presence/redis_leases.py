"""What this process knows of leases: its own, and which of the others are alive. Pure.

Whether a lease is alive is asked of Redis in the round trip that asks for routes, so what is remembered is only whom to ask about. In a large
fleet that would be most of the answer, so there everybody is asked about ten times a second and not with each batch.
"""

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from push_core.presence.port import Node
from push_core.presence.redis_layout import LEASE_BYTES, LeaseId, unpack_node

ASKED_EACH_TIME = 64
ASK_AGAIN_S = 0.1
DEAD_KNOWN_S = 5.0  # a failover may show a lease as gone for a moment
DEAD_KNOWN = 10_000


@dataclass(slots=True)
class Own:
    """The lease of an incarnation of this process. `held`: Redis has it, by its last word. `lost`: it had one that its routes may name."""

    lease: LeaseId
    held: bool = False
    lost: bool = False
    past: list[LeaseId] = field(default_factory=list)


class Leases:
    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._alive: dict[LeaseId, tuple[bytes, Node]] = {}
        self._of: dict[str, LeaseId] = {}  # incarnation → its live lease
        self._dead: dict[LeaseId, float] = {}  # since when it is known
        self._own: dict[str, Own] = {}
        self._asked_at = -ASK_AGAIN_S

    # ── others ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def to_ask(self) -> list[LeaseId]:
        """Those that have to be asked for beside the next batch of routes."""
        if len(self._alive) > ASKED_EACH_TIME:
            now = self._monotonic()
            if now < self._asked_at + ASK_AGAIN_S:
                return []
            self._asked_at = now
        return list(self._alive)

    def learn(self, leases: Sequence[LeaseId], records: Sequence[bytes | None]) -> None:
        for lease, record in zip(leases, records, strict=True):
            if record is None:
                self._bury(lease)
                continue
            known = self._alive.get(lease)
            if known is None or known[0] != record:
                node = unpack_node(record)
                self._alive[lease] = record, node
                self._of[node.incarnation] = lease
                self._dead.pop(lease, None)

    def node(self, lease: LeaseId) -> Node | None:
        """Its node, if it is alive."""
        known = self._alive.get(lease)
        return known[1] if known is not None else None

    def unknown(self, leases: Iterable[LeaseId]) -> list[LeaseId]:
        """Those of whom it is not known whether they are alive."""
        alive, dead = self._alive, self._dead
        missing = {lease for lease in leases if lease not in alive}
        if not missing:
            return []
        since = self._monotonic() - DEAD_KNOWN_S
        return [lease for lease in missing if dead.get(lease, since) <= since]

    def alive(self) -> list[LeaseId]:
        return list(self._alive)

    def of(self, incarnation: str) -> LeaseId | None:
        """The lease under which routes of this incarnation stand, as far as is known."""
        own = self._own.get(incarnation)
        return own.lease if own is not None else self._of.get(incarnation)

    def _bury(self, lease: LeaseId) -> None:
        known = self._alive.pop(lease, None)
        if known is not None and self._of.get(known[1].incarnation) == lease:
            del self._of[known[1].incarnation]
        self._dead.pop(lease, None)
        self._dead[lease] = self._monotonic()
        while len(self._dead) > DEAD_KNOWN:
            del self._dead[next(iter(self._dead))]

    # ── own ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def own(self, incarnation: str) -> Own:
        """For routes to name. One that never leased gets a lease that Redis does not have: they are void until it does."""
        own = self._own.get(incarnation)
        if own is None:
            own = self._own[incarnation] = Own(new_lease(), lost=True)
        return own

    def to_renew(self, incarnation: str) -> Own:
        """For a call of the node itself: its first one loses nothing."""
        own = self._own.get(incarnation)
        if own is None:
            own = self._own[incarnation] = Own(new_lease())
        return own

    def lose(self, own: Own) -> None:
        """It ran out: a new one is needed, and routes that name the old one are void."""
        own.held, own.lost = False, True
        own.past = [*own.past[-7:], own.lease]
        self._bury(own.lease)
        own.lease = new_lease()

    def draw(self, own: Own) -> None:
        """Another lease instead of one that was never held: routes may name it, or another node has it."""
        own.lease = new_lease()

    def release(self, incarnation: str) -> LeaseId | None:
        """Forget it. The lease to end in Redis, if one is known."""
        lease = self.of(incarnation)
        self._own.pop(incarnation, None)
        if lease is not None:
            self._bury(lease)
        return lease


def new_lease() -> LeaseId:
    return secrets.token_bytes(LEASE_BYTES)
