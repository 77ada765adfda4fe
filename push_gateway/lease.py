"""This node in presence: its lease, and that its sessions' routes are what presence says.

A lease that ran out voids all routes: they are registered again at a bounded rate, and inboxes are read of the devices that something was
stored for meanwhile. An emptied presence says nothing of it, so at each renewal a part of the sessions is compared with their routes.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

import structlog

from push_core.backoff import Backoff
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.messages.port import Messages
from push_core.metrics.catalogue import Metric
from push_core.models import DeviceKey
from push_core.presence.port import Located, Node, Presence
from push_core.tasks import Crew
from push_gateway.connection import Connection
from push_gateway.context import Context
from push_gateway.register_again import RegisterAgain
from sdk_proto.wire.close import CloseCode

log = structlog.get_logger(__name__)
T = TypeVar("T")


class Lease:
    def __init__(self, presence: Presence, messages: Messages, context: Context, crew: Crew) -> None:
        self._presence = presence
        self._messages = messages
        self._context = context
        self._settings = context.settings
        self._crew = crew
        self._node: Node | None = None
        self._register = RegisterAgain(presence, messages, context)
        self._backoff = Backoff(context.settings.retry_min_s, context.settings.lease_renew_s)
        self._compared: list[DeviceKey] = []  # what is left of the present round
        self._renewing = asyncio.Lock()

    async def take(self, node: Node) -> None:
        """The first time. Raises Unavailable."""
        alive = await self._in_time(self._presence.nodes())
        if any(each.name == node.name and each.role == node.role for each in alive):
            # Whoever ends in order gives its lease up. Who is back within the lease's time is missed by nobody else.
            log.warning("an earlier life of this node died, or another node has its name", node=node.name)
            self._context.counters.add(Metric.GW_DIED)
        self._node = node
        await self._renew(node)
        self._crew.keep("lease", self._renew_later)
        self._register.start(self._crew)

    async def give_up(self) -> None:
        """All routes are void from now on. Raises Unavailable."""
        node, self._node = self._node, None
        self._context.leased = False
        if node is not None:
            async with self._renewing:  # one under way would take the lease again after us
                self._context.leased = False
                await self._in_time(self._presence.release_node(node.incarnation))

    async def _renew_later(self) -> None:
        away = not self._context.leased  # then sooner: the sessions' routes may wait for it
        await asyncio.sleep(self._backoff.next_s() if away else self._settings.lease_renew_s)
        try:
            async with self._renewing:
                if self._node is None:
                    return
                unbroken = await self._renew(self._node)
        except Unavailable as error:
            self._context.leased = False
            log.warning("presence can't be reached; sessions live on", error=error.message)
            return
        if not unbroken:
            log.warning("the lease had run out; registering all sessions again")
            self._register_again("lease")
            return
        try:
            complete = await self._compare()
        except Unavailable as error:
            log.warning("routes could not be compared with presence", error=error.message)
            return
        if not complete:
            log.warning("presence has lost routes; registering all sessions again")
            self._register_again("routes")

    async def _renew(self, node: Node) -> bool:
        unbroken = await self._in_time(self._presence.lease_node(node, self._settings.lease_ttl_s))
        self._context.leased = True
        self._backoff.reset()
        return unbroken

    def _register_again(self, why: str) -> None:
        self._context.counters.add(Metric.GW_REGISTERED_AGAIN, why)
        self._register.all()

    # ── comparing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _compare(self) -> bool:
        """Look at the next part of the sessions. False if one that should be known is not."""
        signed = self._context.registry.signed
        if not self._compared:
            self._compared = list(signed)
        rounds = self._settings.compare_period_s / self._settings.lease_renew_s
        count = max(self._settings.compare_least, int(len(signed) / rounds) + 1)
        keys, self._compared = self._compared[:count], self._compared[count:]
        asked = [signed[key] for key in keys if key in signed and signed[key] not in self._register]
        if not asked:
            return True
        located = await self._in_time(self._presence.locate([connection.key for connection in asked]))
        complete = True
        for connection, found in zip(asked, located, strict=True):
            if not connection.is_open or self._is_ours(connection, found):
                continue
            if found is None:
                complete = False
            else:
                connection.close(CloseCode.SUPERSEDED, "another connection of this device lives", sign_out=False)
        return complete

    def _is_ours(self, connection: Connection, found: Located | None) -> bool:
        if found is None:
            return False
        route = found.route
        return route.incarnation == self._context.incarnation and route.epoch <= connection.epoch

    async def _in_time(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._settings.store_timeout_s):
                return await call
        except TimeoutError:
            raise DeadlineExceeded("a store did not answer in time") from None
