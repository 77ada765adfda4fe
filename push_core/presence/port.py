"""The port of presence. Batch-first; any method may raise `Unavailable` or `DeadlineExceeded`.

Liveness hangs on the node's incarnation: its lease, renewed every few seconds. When a lease is gone, all routes that name the
incarnation are void at once, and heartbeats of devices write nothing. Times are monotonic within an adapter; callers give
durations only.
"""

import enum
from collections.abc import Sequence
from typing import Protocol

import msgspec

from push_core.models import DeviceKey

GATEWAY, RECEIPTS = "gateway", "receipts"  # roles of nodes


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """One life of a process that others call: a gateway, or a dispatcher that takes receipts. `address` is where its internal RPC
    listens. Leasing is how gateways find the receipts services of their zone; only gateways have routes."""

    incarnation: str
    name: str
    address: str
    zone: str
    role: str = GATEWAY


class Route(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a device is connected. `epoch` numbers the connections of one incarnation, so that a late disconnect never
    removes the newer connection's route."""

    app: str
    device: str
    incarnation: str
    epoch: int
    install: str = ""
    attempt: int = 0
    since: int = 0  # Unix ms


class Verdict(enum.Enum):
    WON = "won"
    SUPERSEDED = (
        "superseded"  # the same install has a live connection with a higher attempt: close the newcomer with 4007
    )


class SignIn(msgspec.Struct, frozen=True):
    """`old` is the route that was replaced (WON) or that stands (SUPERSEDED); None if there was none alive."""

    verdict: Verdict
    old: Route | None = None


class Located(msgspec.Struct, frozen=True, gc=False):
    route: Route
    node: Node


class Presence(Protocol):
    async def lease_node(self, node: Node, ttl_s: float) -> bool:
        """Take or renew the lease of an incarnation. False when it had run out since it was last renewed: its routes are
        void and every session has to be registered again (the lease is taken anew by this very call)."""
        ...

    async def release_node(self, incarnation: str) -> None:
        """Give the lease up: its routes are void."""
        ...

    async def nodes(self) -> list[Node]:
        """Nodes whose lease is alive."""
        ...

    async def sign_in(self, routes: Sequence[Route]) -> list[SignIn]:
        """Set each route unless the same (non-empty) install holds a live one with a higher attempt. One atomic step per
        device: compare, set, return the old one. A route of a dead incarnation counts as none."""
        ...

    async def register_again(self, routes: Sequence[Route]) -> list[bool]:
        """After a lost lease or an emptied store: set each route unless a live one of another incarnation or a higher epoch
        stands. False: the session was replaced elsewhere meanwhile."""
        ...

    async def sign_out(self, routes: Sequence[Route]) -> list[bool]:
        """Remove each route if it is still exactly this connection's (incarnation and epoch)."""
        ...

    async def locate(self, keys: Sequence[DeviceKey]) -> list[Located | None]:
        """Live routes with their nodes."""
        ...

    async def sweep(self, limit: int = 1_000) -> int:
        """Remove entries of dead incarnations, at most `limit`; how many went."""
        ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...
