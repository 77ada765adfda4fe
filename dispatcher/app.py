"""The program: its loops by role, and the order in which they start and stop. Decides nothing about deliveries."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

import structlog

from dispatcher.fallback.channels import open_channels
from dispatcher.fallback.port import Channel
from dispatcher.parts import Parts, build
from dispatcher.receipts_lease import ReceiptsLease
from dispatcher.settings import ROLES, DispatcherSettings
from push_core.adapters import Ports
from push_core.clock import Clock
from push_core.errors import ConfigError
from push_core.neighbours import Neighbours
from push_core.rpc.port import Listener, Peers
from push_core.tasks import Crew

log = structlog.get_logger(__name__)


class Dispatcher:
    """Ports belong to the caller and stay open. `channels` replaces the vendor channels of the settings."""

    def __init__(
        self,
        settings: DispatcherSettings,
        ports: Ports,
        clock: Clock | None = None,
        *,
        channels: Sequence[Channel] | None = None,
    ) -> None:
        self._settings = settings
        self._ports = ports
        self._clock = clock or Clock()
        self._given_channels = channels
        self._channels: list[Channel] = []
        self._loops = Crew("dispatcher", ports.metrics)
        self._late = Crew("dispatcher.late", ports.metrics)
        self._peers: Peers | None = None
        self._listener: Listener | None = None
        self._lease: ReceiptsLease | None = None
        self._neighbours = Neighbours(
            _needed(settings.roles, ports),
            self._clock.monotonic,
            keep_s=settings.ready_cache_s,
            timeout_s=settings.store_timeout_s / 2,
        )
        self._parts: Parts | None = None
        self.ready = False

    @property
    def parts(self) -> Parts:
        """Known after start."""
        if self._parts is None:
            raise RuntimeError("not started")
        return self._parts

    @property
    def address(self) -> str:
        """Where gateways report receipts; "" without that role. Known after start."""
        return self._listener.address if self._listener is not None else ""

    async def missing(self) -> list[str]:
        """Why batches and receipts can't be handled now, a line each; empty when they can. Asks the stores, unlike `ready`."""
        if not self.ready:
            return ["starting or stopping"]
        missing = await self._neighbours.missing()
        if self._lease is not None and not self._lease.held:
            missing.append("the receipts service is not leased in presence")
        return missing

    async def start(self) -> None:
        """Raises ConfigError with a sentence: an unknown role or channel, a port that is taken."""
        try:
            await self._start()
        except BaseException:
            await self.stop(0.0)  # nothing half started stays behind
            raise

    async def _start(self) -> None:
        settings = self._settings
        for role in settings.roles:
            if role not in ROLES:
                raise ConfigError(f"[dispatcher] roles: {role!r} is not a role; there are {', '.join(ROLES)}")
        vendor = "vendor" in settings.roles
        if self._given_channels is not None:
            self._channels = list(self._given_channels) if vendor else []
        elif vendor:
            self._channels = open_channels(settings, self._ports.devices, self._clock)
        self._peers = self._ports.rpc.peers()
        parts = self._parts = build(settings, self._ports, self._clock, self._peers, self._late, self._channels)
        if "receipts" in settings.roles:
            self._listener = self._ports.rpc.listen(receipts=parts.receipts, zone=settings.zone)
            await self._listener.start()
            lease = self._lease = ReceiptsLease(
                self._ports.presence,
                name=settings.name,
                address=self._listener.address,
                zone=settings.zone,
                ttl_s=settings.lease_ttl_s,
                renew_s=settings.lease_renew_s,
                timeout_s=settings.store_timeout_s,
            )
            await lease.renew()
            self._loops.keep("lease", lease.keep)
        self._start_loops(parts)
        self.ready = True

    def _start_loops(self, parts: Parts) -> None:
        settings = self._settings
        if "long" in settings.roles:
            self._loops.keep("intake", parts.intake.run)
            self._every("nodes", settings.nodes_every_s, parts.node_watch.run_once)
        for intake, channel in zip(parts.vendor_intakes, self._channels, strict=True):
            self._loops.keep(f"vendor {channel.name}", intake.run)
        if "relay" in settings.roles:
            for number, relay in enumerate(parts.relays):  # each by itself: a store that is away holds up nobody's
                self._every(f"relay{number or ''}", settings.relay_every_s, relay.run_once)
            self._every("gauges", settings.gauges_every_s, parts.gauges.run_once)
            self._busy("later", settings.later_every_s, self._later_full)
            self._busy("expire", settings.sweep_every_s, parts.sweep.expire)
            self._busy("routes", settings.presence_sweep_every_s, parts.sweep.routes)
            self._busy("prune", settings.prune_every_s, parts.sweep.prune)

    async def stop(self, grace_s: float) -> None:
        """Takes nothing more, lets batches under way end within `grace_s` seconds, then gives the rest back to the queues."""
        self.ready = False
        until = time.monotonic() + grace_s
        await self._loops.stop()
        if self._lease is not None:
            await self._lease.release(
                _left(until)
            )  # first: gateways turn to others while what they have sent here is still taken
        parts = self._parts
        if parts is not None:
            stops = [parts.intake.stop(_left(until))]
            stops.extend(intake.stop(_left(until)) for intake in parts.vendor_intakes)
            await asyncio.gather(*stops)
            await self._late.finish(_left(until))
            await self._late.stop()
        if self._listener is not None:
            await self._listener.stop(_left(until))
        if parts is not None:
            await parts.receipts.close()
            await parts.nodes.close()
            await parts.ledger.close()
            await parts.routes.close()
            await parts.whereabouts.close()
        for channel in self._channels:
            await channel.close()
        await self._neighbours.close()
        if self._peers is not None:
            await self._peers.close()

    async def _later_full(self) -> bool:
        return await self.parts.later.run_once() >= self._settings.later_batch

    def _every(self, name: str, every_s: float, step: Callable[[], Awaitable[object]]) -> None:
        async def loop() -> None:
            await step()
            await asyncio.sleep(every_s)

        self._loops.keep(name, loop)

    def _busy(self, name: str, every_s: float, step: Callable[[], Awaitable[bool]]) -> None:
        """As `_every`, without the pause while there is more to do."""

        async def loop() -> None:
            more = await step()
            await asyncio.sleep(0 if more else every_s)

        self._loops.keep(name, loop)


def _needed(roles: Sequence[str], ports: Ports) -> dict[str, Callable[[], Awaitable[None]]]:
    """What these roles can't work without, as /readyz asks it: receipts need no queue, vendors no presence."""
    needed: dict[str, Callable[[], Awaitable[None]]] = {"the message store": ports.messages.ping}
    if {"long", "vendor", "relay"} & set(roles):
        needed["the queue"] = ports.queues.ping
    if "long" in roles:
        needed["presence"] = ports.presence.ping
    return needed


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())
