"""This node in presence: its lease, and that its sessions' routes are what presence says.

A lease that ran out voids all routes: they are registered again at a bounded rate, and inboxes are read of the devices that something was
stored for meanwhile. An emptied presence says nothing of it, so at each renewal a part of the sessions is compared with their routes.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from itertools import islice
from typing import TypeVar

import structlog

from push_core.errors import DeadlineExceeded, Unavailable
from push_core.messages.port import Messages
from push_core.models import DeviceKey
from push_core.presence.port import Located, Node, Presence
from push_core.tasks import Crew
from push_gateway.connection import Connection
from push_gateway.context import Context
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
        self._registering = False
        self._compared: list[DeviceKey] = []  # what is left of the present round

    async def take(self, node: Node) -> None:
        """The first time. Raises Unavailable."""
        self._node = node
        await self._renew(node)
        self._crew.keep("lease", self._renew_later)

    async def give_up(self) -> None:
        """All routes are void from now on. Raises Unavailable."""
        node, self._node = self._node, None
        self._context.leased = False
        if node is not None:
            await self._in_time(self._presence.release_node(node.incarnation))

    async def _renew_later(self) -> None:
        await asyncio.sleep(self._settings.lease_renew_s)
        if self._node is None:
            return
        try:
            if not await self._renew(self._node):
                log.warning("the lease had run out; registering all sessions again")
                self._register_all()
            elif not await self._compare():
                log.warning("presence has lost routes; registering all sessions again")
                self._register_all()
        except Unavailable as error:
            self._context.leased = False
            log.warning("presence can't be reached; sessions live on", error=error.message)

    async def _renew(self, node: Node) -> bool:
        unbroken = await self._in_time(self._presence.lease_node(node, self._settings.lease_ttl_s))
        self._context.leased = True
        return unbroken

    # ── comparing ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def _compare(self) -> bool:
        """Look at the next part of the sessions. False if one that should be known is not."""
        signed = self._context.registry.signed
        if not self._compared:
            self._compared = list(signed)
        rounds = self._settings.compare_period_s / self._settings.lease_renew_s
        count = max(self._settings.compare_least, int(len(signed) / rounds) + 1)
        keys, self._compared = self._compared[:count], self._compared[count:]
        asked = [signed[key] for key in keys if key in signed]
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

    # ── registering again ─────────────────────────────────────────────────────────────────────────────────────────────

    def _register_all(self) -> None:
        if not self._registering:
            self._registering = True
            registry = self._context.registry
            joining = [connection for several in registry.joining.values() for connection in several]
            self._crew.start("register", self._register(list(registry.signed.values()), joining))

    async def _register(self, signed: Sequence[Connection], joining: Sequence[Connection]) -> None:
        """Those who say hello from now on are registered by that; presence may have heard of `joining` while the lease was lost."""
        try:
            await self._register_each(signed)
            while any(connection.is_joining for connection in joining):  # noqa: ASYNC110 - each step of it has a deadline
                await asyncio.sleep(self._settings.wheel_resolution_s)
            await self._register_each(joining)
        finally:
            self._registering = False

    async def _register_each(self, connections: Sequence[Connection]) -> None:
        """At a bounded rate. A failed batch is tried again until the node stops."""
        batch_size = self._settings.register_batch
        pause_s = batch_size / self._settings.register_per_s
        left = iter(connections)
        while batch := list(islice(left, batch_size)):
            while not await self._register_batch(batch):  # noqa: ASYNC110 - a pause between tries, not a wait
                await asyncio.sleep(self._settings.retry_max_s)
            await asyncio.sleep(pause_s)

    async def _register_batch(self, batch: Iterable[Connection]) -> bool:
        here = [connection for connection in batch if connection.is_open]
        if not here:
            return True
        try:
            kept = await self._in_time(self._presence.register_again([connection.route for connection in here]))
            for connection, ours in zip(here, kept, strict=True):
                if not ours:
                    connection.close(CloseCode.SUPERSEDED, "another connection of this device lives", sign_out=False)
            waiting = await self._in_time(self._messages.waiting([connection.key for connection in here]))
        except Unavailable as error:
            log.warning("sessions were not registered again; trying again", error=error.message)
            return False
        for connection, count in zip(here, waiting, strict=True):
            if count and connection.is_open:
                self._context.drains.poke(connection)
        return True

    async def _in_time(self, call: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(self._settings.store_timeout_s):
                return await call
        except TimeoutError:
            raise DeadlineExceeded("a store did not answer in time") from None
