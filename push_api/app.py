"""The push API as one program: its parts put together, started and stopped in order.

Composition only. The adapters in `ports` are shared with other programs of the process and are not closed here.
"""

import asyncio
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import msgspec
import structlog

from push_api.acceptance import Acceptance
from push_api.admission import Admission
from push_api.asgi import HttpDoor
from push_api.auth import Authenticator
from push_api.complaints import Complaints
from push_api.devices import DeviceService
from push_api.grpc_server import GrpcDoor
from push_api.http import HttpServer, Routes, fallback
from push_api.issuing import Issuing
from push_api.openapi import document
from push_api.publisher import Publisher
from push_api.readiness import Readiness
from push_api.service import PushService
from push_api.settings import ApiSettings
from push_api.tracking import Tracking
from push_core.adapters import ApiPorts
from push_core.clock import Clock
from push_core.control.watch import ControlWatch
from push_core.errors import Unavailable
from push_core.limits.addresses import AddressCounts
from push_core.load import LoopLag
from push_core.rpc.discovery import Discovery
from push_core.shards import ShardMap
from push_core.tasks import Crew

log = structlog.get_logger(__name__)


class PushApi:
    """`extra_routes` are Starlette routes for paths that the contract doesn't have; they get no rights and no access to the service."""

    def __init__(
        self, settings: ApiSettings, ports: ApiPorts, clock: Clock | None = None, extra_routes: Routes = ()
    ) -> None:
        clock = clock or Clock()
        timeout_s = settings.store_timeout_s
        shards = ZoneShards(ports.control, settings.zone, clock)
        self._crew = Crew("api", ports.metrics)
        self._peers = ports.rpc.peers()
        # Which gateways live: connections to those that are gone are closed.
        self._discovery = Discovery(
            ports.presence, ports.control, ports.rpc.zones, self._peers, settings.zone, timeout_s=timeout_s
        )
        self._issuing = Issuing(
            ports.messages,
            clock,
            ttl_s=settings.issuer_ttl_s,
            renew_s=settings.issuer_renew_s,
            timeout_s=timeout_s,
            step_back_ms=settings.clock_step_back_ms,
        )
        self._publisher = Publisher(
            ports.queues,
            ports.messages,
            ports.metrics,
            clock,
            bound=settings.publish_bound,
            parallel=settings.publish_parallel,
            timeout_s=settings.publish_timeout_s,
            every_s=settings.publish_every_ms / 1_000,
        )
        self._acceptance = Acceptance(
            ports.messages,
            self._issuing,
            self._publisher,
            ports.trail,
            ports.metrics,
            clock,
            shards=shards,
            largest=settings.commit_batch,
            parallel=settings.commit_parallel,
            bound=settings.commit_bound,
            timeout_s=settings.commit_timeout_s,
            collision_tries=settings.collision_tries,
            every_s=settings.commit_every_ms / 1_000,
        )
        self._auth = Authenticator(
            ports.devices,
            clock,
            ports.metrics,
            ttl_s=settings.app_cache_s,
            stale_s=settings.app_cache_stale_s,
            size=settings.app_cache_size,
            timeout_s=timeout_s,
        )
        self._lag = LoopLag("api", ports.metrics)
        self._admission = Admission(ports.limits, self._lag, ports.metrics, settings, clock)
        self._readiness = Readiness(
            self._issuing,
            {"the message store": ports.messages.ping, "the device store": ports.devices.ping},
            clock,
            shards=shards,
            keep_s=settings.ready_cache_s,
            timeout_s=min(timeout_s, settings.request_timeout_s / 2),
        )
        service = PushService(
            auth=self._auth,
            admission=self._admission,
            acceptance=self._acceptance,
            tracking=Tracking(ports.messages, self._publisher, clock, timeout_s=timeout_s),
            devices=DeviceService(ports.devices, ports.presence, self._peers, clock, timeout_s=timeout_s),
            readiness=self._readiness,
            metrics=ports.metrics,
        )
        openapi = msgspec.json.encode(document(_version()))
        complaints = Complaints(clock)
        door = HttpDoor(service, ports.metrics, complaints, settings, openapi=openapi, other=fallback(extra_routes))
        self._http = HttpServer(
            door, settings, AddressCounts(settings.max_address_connections, "connections", ports.metrics)
        )
        self._grpc = GrpcDoor(service, ports.metrics, complaints, settings) if settings.grpc_port >= 0 else None

    @property
    def ready(self) -> bool:
        """Whether messages can be accepted, as far as is known without asking a store."""
        return self._readiness.serving and self._issuing.held

    async def missing(self) -> list[str]:
        """What /readyz says: why messages can't be accepted now, a line each; empty when they can."""
        return await self._readiness.missing()

    @property
    def url(self) -> str:
        """`http://host:port`, known after `start`."""
        return self._http.url

    @property
    def grpc_address(self) -> str | None:
        """`host:port`, known after `start`; None when gRPC is off."""
        return self._grpc.address if self._grpc is not None else None

    async def start(self) -> None:
        """Serve. Raises ConfigError when a port can't be used. With the message store away it serves all the same, not ready."""
        await self._http.start()
        try:
            if self._grpc is not None:
                await self._grpc.start()
        except BaseException:
            await self._http.stop(0)
            raise
        try:
            await self._issuing.take()
        except Unavailable as error:
            log.warning("started without an issuer number; not ready yet", reason=error.message)
        self._crew.keep("issuer", self._issuing.keep)
        self._crew.keep("lag", self._lag.sample)
        self._crew.keep("peers", self._discovery.run)
        self._readiness.serving = True

    async def stop(self, grace_s: float) -> None:
        """Take no new requests, finish those under way, publish what is committed: within `grace_s` seconds; then end what is left."""
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        self._readiness.serving = False
        doors = [self._http.stop(grace_s * 0.8)]
        if self._grpc is not None:
            doors.append(self._grpc.stop(grace_s * 0.8))
        await asyncio.gather(*doors)
        # Commits first, while the lease is still renewed; they feed the publisher; the number goes back when no id can be made any more.
        try:
            async with asyncio.timeout_at(max(end, loop.time() + 0.1)):
                await self._acceptance.close()
        except TimeoutError:
            log.warning("stopped with a commit under way; the relay finds what it wrote")
        await self._publisher.close(max(0.1, end - loop.time()))
        await self._crew.stop()
        await self._issuing.release()
        await self._readiness.close()
        await self._auth.close()
        await self._admission.close()
        await self._peers.close()


class ZoneShards:
    """The shards that this zone may make ids in now, by the map as it stands; worked out once for each map, and anew while shards move."""

    def __init__(self, control: ControlWatch, zone: str, clock: Clock) -> None:
        self._control = control
        self._zone = zone
        self._clock = clock
        self._map: ShardMap | None = None
        self._settled = True
        self._shards: Sequence[int] = ()

    def __call__(self) -> Sequence[int]:
        current = self._control.shard_map
        if current is not self._map or not self._settled:
            now = self._clock.wall_ms()
            self._map, self._shards = current, current.open_to(self._zone, now)
            self._settled = now >= current.settled_at()
        return self._shards


def _version() -> str:
    try:
        return version("taco")
    except PackageNotFoundError:
        return "0"
