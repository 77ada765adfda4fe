"""The gateway as one program: its parts put together, started and stopped in order.

Composition only. The adapters in `ports` are shared with other programs of the process and are not closed here.
"""

import asyncio
import random
import secrets
from collections.abc import Awaitable, Callable

import structlog

from push_core.adapters import GatewayPorts
from push_core.clock import Clock
from push_core.errors import ConfigError, Unavailable
from push_core.limits.shared import SharedBuckets
from push_core.load import LoopLag
from push_core.metrics.catalogue import Metric
from push_core.neighbours import Neighbours
from push_core.presence.port import Node as NodeRecord
from push_core.rpc.discovery import Discovery
from push_core.tasks import Crew
from push_gateway.admission import Admission
from push_gateway.announced import Announced
from push_gateway.broadcasts import Broadcasts
from push_gateway.context import Context
from push_gateway.counters import Counters
from push_gateway.drain import Drain
from push_gateway.drain_switch import CONTROL_KEY as DRAIN_KEY
from push_gateway.drains import Drains
from push_gateway.entrance import Entrance
from push_gateway.gate import Gate
from push_gateway.guard.guard import Guard
from push_gateway.heartbeats import Heartbeats
from push_gateway.kicks import Kicks
from push_gateway.lease import Lease
from push_gateway.node import Node
from push_gateway.receipts import Receipts
from push_gateway.registry import Registry
from push_gateway.settings import GatewaySettings
from push_gateway.sign_in import SignIns
from push_gateway.sign_out import SignOuts
from push_gateway.tls.certificates import Files
from push_gateway.tls.handshake import Handshakes
from push_gateway.tls.keeper import Keeper
from push_gateway.topics import Topics
from push_gateway.wheel import Wheel
from sdk_proto.wire.close import CloseCode
from sdk_proto.wire.heartbeat import HeartbeatPolicy
from sdk_proto.wire.server import TOPICS, Terms

log = structlog.get_logger(__name__)

FLUSH_METRICS_S = 1.0
AT_ONCE = 256  # connections handled before the loop gets its turn
# Shares of the grace in which a node stops: what is left after them is for connections to end by themselves.
LEASE_SHARE, LISTENER_SHARE, RECEIPTS_SHARE = 0.2, 0.2, 0.4
DRAIN_SHARE = (
    0.75  # of the whole grace, at most, for devices to go elsewhere; the shares above are of what is left then
)


class Gateway:
    """One life of one node. `start` raises ConfigError with a sentence when the port is taken, Unavailable when presence can't be reached."""

    def __init__(self, settings: GatewaySettings, ports: GatewayPorts, clock: Clock | None = None) -> None:
        clock = clock or Clock()
        self._settings = settings
        self._clock = clock
        self._metrics = ports.metrics
        self._crew = Crew("gateway", ports.metrics)
        self._peers = ports.rpc.peers()
        incarnation = secrets.token_hex(8)
        registry, counters = Registry(), Counters(ports.metrics)
        self._receipts = Receipts(
            self._peers, lambda: ports.control.shard_map, settings, ports.metrics, self._crew, clock
        )
        self._discovery = Discovery(
            ports.presence,
            ports.control,
            ports.rpc.zones,
            self._peers,
            settings.zone,
            every_s=settings.peers_every_s,
            timeout_s=settings.store_timeout_s,
        )
        self._lag = LoopLag("gateway", ports.metrics)
        self._guard = guard = Guard(settings, ports.control, ports.metrics, clock)
        admission = Admission(registry, guard, self._lag, ports.metrics, settings, clock)
        self._drains = Drains(ports.messages, self._receipts, settings, clock, self._crew)
        self._sign_outs = SignOuts(ports.presence, settings)
        self._topics = Topics(ports.control.value, counters, most=settings.topics_per_session)
        buckets = SharedBuckets(
            ports.limits,
            ports.metrics,
            timeout_s=settings.limits_timeout_s,
            away_s=settings.limits_away_s,
            share=settings.limits_share,
            monotonic=clock.monotonic,
        )
        self._broadcasts = Broadcasts(
            registry, self._topics, buckets, counters, ports.metrics, settings, clock, ports.control.value
        )
        self._sign_ins = SignIns(
            ports.devices,
            ports.presence,
            admission=admission,
            registry=registry,
            drains=self._drains,
            kicks=Kicks(ports.presence, self._peers, settings, self._crew),
            sign_outs=self._sign_outs,
            topics=self._topics,
            counters=counters,
            settings=settings,
            clock=clock,
            incarnation=incarnation,
        )
        self._context = Context(
            settings=settings,
            terms=terms_of(settings),
            clock=clock,
            incarnation=incarnation,
            admission=admission,
            guard=guard,
            wheel=Wheel(settings.wheel_resolution_s, clock.monotonic()),
            counters=counters,
            receipts=self._receipts,
            drains=self._drains,
            sign_outs=self._sign_outs,
            sign_ins=self._sign_ins,
            topics=self._topics,
            broadcasts=self._broadcasts,
            registry=registry,
        )
        Heartbeats(ports.control, self._context.terms)
        self._lease = Lease(ports.presence, ports.messages, self._context, self._crew)
        # Without the message store devices are signed in and served all the same; without one of these nobody new can be.
        self._neighbours = Neighbours(
            {"presence": ports.presence.ping, "the device store": ports.devices.ping},
            clock.monotonic,
            keep_s=settings.ready_cache_s,
            timeout_s=settings.store_timeout_s / 2,
        )
        self._listener = ports.rpc.listen(node=Node(self._context), zone=settings.zone)
        files = Files.of(settings)
        self._certificate = None if files is None else Keeper(files, ports.metrics, clock, every_s=settings.tls_check_s)
        self._gate = Gate(settings, self._door())
        self._control = ports.control
        self.drain = Drain(self._context, self._gate, ports.metrics)

    def _door(self) -> Callable[[], asyncio.Protocol]:
        """What a connection that is accepted is at first: a proxy's header, if those are configured; a TLS handshake; the way in."""
        context = self._context

        def entrance(told: str | None = None) -> Entrance:
            return Entrance(context, told)

        certificate = self._certificate
        link: Callable[[str | None], asyncio.Protocol] = entrance
        if certificate is not None:
            link = Handshakes(context, lambda: certificate.context, entrance)
        return (lambda: Announced(context, link)) if context.guard.door.proxied else lambda: link(None)

    @property
    def url(self) -> str:
        """Where devices connect, known after `start`."""
        return self._gate.url

    @property
    def address(self) -> str:
        """Where other programs reach this node, known after `start`."""
        return self._listener.address

    @property
    def incarnation(self) -> str:
        return self._context.incarnation

    @property
    def ready(self) -> bool:
        """Whether new devices should come here."""
        return self._context.ready

    async def missing(self) -> list[str]:
        """Why new devices can't sign in here now, a line each; empty when they can. Asks the stores, unlike `ready`."""
        context = self._context
        if context.stopping or not context.started:
            return ["starting or stopping"]
        if why := self.drain.why:
            return [why]
        missing = await self._neighbours.missing()
        if overloaded := context.admission.overloaded:
            missing.append(overloaded)
        if not context.leased:
            missing.append("this node's lease in presence is not held")
        return missing

    def reload(self) -> None:
        """Look at the certificate's files now."""
        if self._certificate is not None:
            self._certificate.reload()

    @property
    def sessions(self) -> int:
        """Signed in now."""
        return len(self._context.registry.signed)

    async def start(self) -> None:
        await self._listener.start()
        try:
            await self._lease.take(
                NodeRecord(
                    incarnation=self._context.incarnation,
                    name=self._settings.name,
                    address=self._listener.address,
                    zone=self._settings.zone,
                )
            )
            self._crew.keep("peers", self._discovery.run)
            self._crew.keep("wheel", self._turn_wheel)
            self._crew.keep("broadcasts", self._broadcasts.run)
            self._crew.keep("metrics", self._flush_metrics)
            self._crew.keep("lag", self._lag.sample)
            if self._certificate is not None:
                self._crew.keep("certificate", self._certificate.look)
            self._crew.keep("guard", lambda: self._guard.run(lambda: self.sessions))
            await self._gate.open()
        except BaseException:
            await self.stop(self._settings.store_timeout_s)
            raise
        self._context.started = True
        self._control.subscribe(DRAIN_KEY, self.drain.on_switch)
        log.info("gateway started", url=self._gate.url, node=self._settings.name, incarnation=self._context.incarnation)

    async def stop(self, grace_s: float) -> None:
        """Refuse what is new, have the devices go elsewhere, say goodbye to who is left, tell of what was not acked, and give the node up:
        all within the grace."""
        loop = asyncio.get_running_loop()
        end = loop.time() + grace_s
        context = self._context
        await self.drain.leave(min(self._settings.drain_s, grace_s * DRAIN_SHARE) if context.started else 0.0)
        rest_s = max(0.0, end - loop.time())

        def left(share: float) -> float:
            return max(0.0, min(rest_s * share, end - loop.time()))

        context.stopping = True
        self._sign_outs.stop()
        await self._say_goodbye()
        # Dispatchers must not find the routes any more before the un-acked pushes go back to them.
        await _within(self._lease.give_up(), left(LEASE_SHARE))
        await self._listener.stop(left(LISTENER_SHARE))
        await self._receipts.flush(left(RECEIPTS_SHARE))
        while context.registry.connections and loop.time() < end:  # noqa: ASYNC110 - once in a life
            await asyncio.sleep(min(self._settings.wheel_resolution_s, max(0.0, end - loop.time())))
        for connection in list(context.registry.connections):
            connection.abort()
        await asyncio.sleep(0)  # aborted transports tell their protocols in the next turn
        await self._crew.stop()
        await _within(self._close_batches(), left(1.0))
        await self._neighbours.close()
        await self._peers.close()
        context.counters.flush()

    async def _say_goodbye(self) -> None:
        """`stopping` is set, so nobody new gets in between two slices."""
        for number, connection in enumerate(list(self._context.registry.connections), start=1):
            retry_ms = random.randint(0, self._settings.stop_retry_ms)  # noqa: S311 - spreads load
            connection.close(CloseCode.SHUTTING_DOWN, "shutting down", retry_after_ms=retry_ms)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    async def _close_batches(self) -> None:
        await self._broadcasts.close()
        await self._sign_ins.close()
        await self._drains.close()
        await self._sign_outs.close()

    async def _turn_wheel(self) -> None:
        await asyncio.sleep(self._settings.wheel_resolution_s)
        now = self._clock.monotonic()
        while due := self._context.wheel.tick(now, AT_ONCE):
            for entry in due:
                try:
                    entry.on_due(now)
                except Exception:  # the supervised edge: one session's fault must not cost the others their turn
                    log.exception("a timeout could not be handled")
                    self._metrics.count(Metric.TASK_ERRORS, task="gateway.wheel")
            if len(due) < AT_ONCE:
                break
            await asyncio.sleep(0)

    async def _flush_metrics(self) -> None:
        await asyncio.sleep(FLUSH_METRICS_S)
        self._context.counters.flush()
        self._metrics.gauge(Metric.GW_SESSIONS, self.sessions)
        self._metrics.gauge(Metric.GW_TOPICS, len(self._topics))
        self._metrics.gauge(Metric.GW_SUBSCRIPTIONS, self._topics.subscriptions)


def terms_of(settings: GatewaySettings) -> Terms:
    """Raises ConfigError if the heartbeat's bounds contradict one another."""
    try:
        heartbeat = HeartbeatPolicy(
            min_s=settings.heartbeat_min_s,
            max_s=settings.heartbeat_max_s,
            default_s=settings.heartbeat_default_s,
            grace=settings.heartbeat_grace,
            burst=settings.ping_burst,
        )
    except ValueError as error:
        raise ConfigError(f"[gateway] {error}") from None
    return Terms(
        heartbeat=heartbeat,
        window_default=settings.window_default,
        window_max=settings.window_max,
        max_frame=settings.max_message_bytes,
        hello_timeout_s=settings.hello_timeout_s,
        written_after_s=settings.written_after_s,
        window_full_s=settings.window_full_s,
        unsent_timeout_s=settings.unsent_timeout_s,
        leave_s=settings.drain_leave_s,
        features=(TOPICS,) if settings.topics_per_session else (),
    )


async def _within(work: Awaitable[None], timeout_s: float) -> None:
    """A step of stopping: what it can't do in time is made good by others, so it never keeps the rest from stopping."""
    try:
        async with asyncio.timeout(timeout_s):
            await work
    except (TimeoutError, Unavailable) as error:
        log.warning("a part of the gateway did not stop in order", error=str(error))
