"""Which store stands behind which port: a DSN picks the adapter, and this is the only list.

A driver is loaded when its scheme is chosen and not before. Composition only: no program logic, no defaults of programs.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from push_core.claims.port import Claims
from push_core.clock import Clock
from push_core.devices.port import Devices
from push_core.dsn import Dsn
from push_core.fuse import Fuse, MakeFuse
from push_core.limits.port import Limits
from push_core.messages.port import Messages
from push_core.metrics.port import Metrics
from push_core.presence.port import Presence
from push_core.queues.port import Queues
from push_core.redis.place import SCHEMES as REDIS
from push_core.rpc.port import Peers, Rpc
from push_core.sql.schemes import SCHEMES as SQL
from push_core.store_settings import StoreSettings as StoreSettings  # for those that name it beside the adapters
from push_core.store_settings import breaker_terms as breaker_terms
from push_core.trail.port import Trail

if TYPE_CHECKING:
    from push_core.control.port import Control
    from push_core.control.watch import ControlWatch

P = TypeVar("P")


@dataclass(slots=True, kw_only=True)
class GatewayPorts:
    """The open adapters that a gateway needs, shared by all programs of a process. `control` is started."""

    messages: Messages
    devices: Devices
    control: "ControlWatch"
    presence: Presence
    limits: Limits
    trail: Trail
    metrics: Metrics
    rpc: Rpc

    async def close(self) -> None:
        """Close all, each even if another one fails, and at a time: one whose server hangs takes seconds. Those that others report to last."""
        async with AsyncExitStack() as stack:
            stack.push_async_callback(self.metrics.close)
            stack.push_async_callback(self.trail.close)
            closed = await asyncio.gather(*(close() for close in self._stores()), return_exceptions=True)
            for outcome in closed:
                if outcome is not None:
                    raise outcome

    def _stores(self) -> list[Callable[[], Awaitable[None]]]:
        return [
            self.messages.close,
            self.devices.close,
            self._close_control,
            self.presence.close,
            self.limits.close,
        ]

    async def _close_control(self) -> None:
        try:
            await self.control.stop()
        finally:
            await self.control.control.close()


@dataclass(slots=True, kw_only=True)
class ApiPorts(GatewayPorts):
    """What the push API needs: it publishes as well."""

    queues: Queues

    def _stores(self) -> list[Callable[[], Awaitable[None]]]:
        return [*GatewayPorts._stores(self), self.queues.close]


@dataclass(slots=True, kw_only=True)
class Ports(ApiPorts):
    """All of them: what a dispatcher needs."""

    claims: Claims

    def _stores(self) -> list[Callable[[], Awaitable[None]]]:
        return [*ApiPorts._stores(self), self.claims.close]


Wanted = TypeVar("Wanted", bound=GatewayPorts)


@dataclass(frozen=True, slots=True)
class _With:
    """What adapters are opened with besides their DSN."""

    settings: StoreSettings
    clock: Clock
    metrics: Metrics | None = None

    def fuse(self, target: str) -> MakeFuse:
        """For an adapter that calls a server, known to metrics as `target`: as the settings say."""
        terms = breaker_terms(self.settings)
        return lambda where: Fuse(target, where, terms, self.metrics, self.clock.monotonic)


@dataclass(frozen=True)  # no slots: with them Python 3.11 can't make an instance of a frozen generic class
class _Choice(Generic[P]):
    """The adapters of one port by scheme."""

    port: str
    open: Mapping[str, Callable[[Dsn, _With], Awaitable[P]]]

    async def pick(self, dsn: str, given: _With) -> P:
        parsed = Dsn.parse(dsn, f"[stores] {self.port}", self.open)
        return await self.open[parsed.scheme](parsed, given)


async def _sql_messages(dsn: Dsn, given: _With) -> Messages:
    from push_core.messages.open import open_messages

    return await open_messages(dsn.text, fuse=given.fuse("messages"))


async def _sql_devices(dsn: Dsn, given: _With) -> Devices:
    from push_core.devices.sql import SqlDevices

    return await SqlDevices.open(dsn.text, fuse=given.fuse("devices"))


async def _sql_control(dsn: Dsn, given: _With) -> "Control":
    from push_core.control.sql import SqlControl

    return await SqlControl.open(dsn.text, fuse=given.fuse("control"))


async def _memory_presence(dsn: Dsn, given: _With) -> Presence:
    from push_core.presence.memory import MemoryPresence

    return MemoryPresence(**dsn.numbers("size"), monotonic=given.clock.monotonic)


async def _redis_presence(dsn: Dsn, given: _With) -> Presence:
    from push_core.presence.redis import RedisPresence

    return RedisPresence.open(dsn, metrics=given.metrics, fuse=given.fuse("presence"), monotonic=given.clock.monotonic)


async def _memory_claims(dsn: Dsn, given: _With) -> Claims:
    from push_core.claims.memory import MemoryClaims

    return MemoryClaims(**dsn.numbers("size"), monotonic=given.clock.monotonic)


async def _redis_claims(dsn: Dsn, given: _With) -> Claims:
    from push_core.claims.redis import RedisClaims

    return RedisClaims.open(dsn, metrics=given.metrics, fuse=given.fuse("claims"))


async def _memory_limits(dsn: Dsn, given: _With) -> Limits:
    from push_core.limits.memory import MemoryLimits

    return MemoryLimits(**dsn.numbers("size"), monotonic=given.clock.monotonic)


async def _redis_limits(dsn: Dsn, given: _With) -> Limits:
    from push_core.limits.redis import RedisLimits

    return RedisLimits.open(dsn, metrics=given.metrics, fuse=given.fuse("limits"))


async def _memory_queues(dsn: Dsn, given: _With) -> Queues:
    from push_core.queues.memory import MemoryQueues

    clock = given.clock
    sizes = dsn.numbers("length", "queue_bytes", "parked")
    return MemoryQueues(**sizes, monotonic=clock.monotonic, wall_ms=clock.wall_ms)


async def _amqp_queues(dsn: Dsn, given: _With) -> Queues:
    from push_core.queues.amqp import AmqpQueues
    from push_core.queues.amqp_settings import AmqpSettings

    return AmqpQueues(
        AmqpSettings.read(dsn), metrics=given.metrics, fuse=given.fuse("queues"), wall_ms=given.clock.wall_ms
    )


async def _memory_trail(dsn: Dsn, given: _With) -> Trail:
    from push_core.trail.memory import MemoryTrail

    return MemoryTrail(**dsn.numbers("size"), metrics=given.metrics)


async def _null_metrics(dsn: Dsn, _: _With) -> Metrics:
    from push_core.metrics.null import NullMetrics

    dsn.numbers()
    return NullMetrics()


async def _memory_metrics(dsn: Dsn, _: _With) -> Metrics:
    from push_core.metrics.memory import MemoryMetrics

    return MemoryMetrics(**dsn.numbers("size"))


async def _prometheus_metrics(dsn: Dsn, _: _With) -> Metrics:
    from push_core.metrics.prometheus import PrometheusMetrics

    return PrometheusMetrics(**dsn.numbers("size"))


async def _statsd_metrics(dsn: Dsn, _: _With) -> Metrics:
    from push_core.metrics.statsd import StatsdMetrics

    host, _colon, port = dsn.host_and_port().rpartition(":")
    texts = {"prefix": prefix} if (prefix := dsn.options.get("prefix")) is not None else {}
    numbers = dsn.numbers("flush_ms", "size", "datagram", "samples", texts=("prefix",))
    return await StatsdMetrics.open(host.strip("[]"), int(port), **numbers, **texts)


async def _inproc_rpc(dsn: Dsn, given: _With) -> Rpc:
    from push_core.rpc.inproc import InprocRpc

    return InprocRpc(given.settings.receipts, **dsn.numbers("max_in_flight"))


async def _grpc_rpc(dsn: Dsn, given: _With) -> Rpc:
    from push_core.rpc.grpc import GrpcRpc
    from push_core.rpc.trust import Certificates

    settings = given.settings
    numbers: dict[str, Any] = {**dsn.numbers("max_in_flight", "max_message_bytes", "max_peers", texts=("advertise",))}
    return GrpcRpc(
        dsn.host_and_port(),
        cluster_key=settings.cluster_key,
        certificates=Certificates.load(settings.rpc_cert, settings.rpc_key, settings.rpc_ca, settings.rpc_cert_name),
        networks=settings.rpc_allowed_networks,
        receipts=settings.receipts,
        advertise=dsn.options.get("advertise"),
        metrics=given.metrics,
        fuse=given.fuse,
        **numbers,
    )


MESSAGES = _Choice[Messages]("messages", dict.fromkeys(SQL, _sql_messages))
DEVICES = _Choice[Devices]("devices", dict.fromkeys(SQL, _sql_devices))
CONTROL = _Choice["Control"]("devices", dict.fromkeys(SQL, _sql_control))
PRESENCE = _Choice[Presence]("presence", {"memory": _memory_presence} | dict.fromkeys(REDIS, _redis_presence))
CLAIMS = _Choice[Claims]("claims", {"memory": _memory_claims} | dict.fromkeys(REDIS, _redis_claims))
LIMITS = _Choice[Limits]("limits", {"memory": _memory_limits} | dict.fromkeys(REDIS, _redis_limits))
QUEUES = _Choice[Queues]("queues", {"memory": _memory_queues, "amqp": _amqp_queues, "amqps": _amqp_queues})
TRAIL = _Choice[Trail]("trail", {"memory": _memory_trail})
METRICS = _Choice[Metrics](
    "metrics",
    {"null": _null_metrics, "memory": _memory_metrics, "prometheus": _prometheus_metrics, "statsd": _statsd_metrics},
)
RPC = _Choice[Rpc]("rpc", {"inproc": _inproc_rpc, "grpc": _grpc_rpc})


async def open_queues(dsn: str) -> Queues:
    """The queues alone: what an operator looks at. Raises ConfigError."""
    return await QUEUES.pick(dsn, _With(StoreSettings(queues=dsn), Clock()))


async def open_devices(dsn: str) -> Devices:
    """The device store alone: what administration works on. Raises as `open_ports`."""
    return await DEVICES.pick(dsn, _With(StoreSettings(devices=dsn), Clock()))


async def open_control(dsn: str) -> "Control":
    """Control alone: what administration reads and writes there. Takes the DSN of the device store; raises as `open_ports`."""
    return await CONTROL.pick(dsn, _With(StoreSettings(devices=dsn), Clock()))


@asynccontextmanager
async def open_peers(settings: StoreSettings) -> AsyncIterator[tuple[Presence, Peers]]:
    """Which nodes live, and calls to them as programs make them. Raises as `open_ports`."""
    given = _With(settings, Clock())
    async with AsyncExitStack() as opened:
        presence = await PRESENCE.pick(settings.presence, given)
        opened.push_async_callback(presence.close)
        peers = (await RPC.pick(settings.rpc, given)).peers()
        opened.push_async_callback(peers.close)
        yield presence, peers


@overload
async def open_ports(settings: StoreSettings, *, clock: Clock, data: Path | None) -> Ports: ...


@overload
async def open_ports(settings: StoreSettings, *, clock: Clock, data: Path | None, only: type[Wanted]) -> Wanted: ...


async def open_ports(
    settings: StoreSettings, *, clock: Clock, data: Path | None, only: type[GatewayPorts] = Ports
) -> GatewayPorts:
    """Open every adapter that `only` has a field for; whatever was opened is closed again if one fails.

    `data` is the folder of control's copy on disk (made if missing); None: no copy. Raises ConfigError for a scheme that does
    not exist, naming those that do, and Unavailable when a store can't be opened.
    """
    from push_core.control.watch import ControlWatch

    given = _With(settings, clock)
    wanted = {field.name for field in fields(only)}
    ports: dict[str, Any] = {}
    async with AsyncExitStack() as opened:

        async def open_one(choice: "_Choice[Any]", dsn: str) -> Any:
            adapter = await choice.pick(dsn, given)
            opened.push_async_callback(adapter.close)
            return adapter

        ports["metrics"] = await open_one(METRICS, settings.metrics)
        given = _With(settings, clock, ports["metrics"])
        # SQL first: it is what can refuse, or be away; nothing else has been connected to then.
        for choice in (MESSAGES, DEVICES, TRAIL, QUEUES, PRESENCE, CLAIMS, LIMITS):
            if choice.port in wanted:
                ports[choice.port] = await open_one(choice, getattr(settings, choice.port))
        ports["rpc"] = await RPC.pick(settings.rpc, given)
        control = await open_one(CONTROL, settings.devices)
        watch = ports["control"] = ControlWatch(control, data / "control.json" if data is not None else None)
        opened.push_async_callback(watch.stop)
        await watch.start()
        opened.pop_all()  # all open: from here on the owner of the Ports closes them
        return only(**ports)
    raise AssertionError  # not reached: the stack swallows nothing
