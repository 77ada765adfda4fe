"""The parts of a dispatcher put together, without a loop running: what the program's loops step, and what tests step by hand."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from dispatcher.actions import Actions
from dispatcher.broadcast import Broadcaster
from dispatcher.envelopes import EnvelopeWork, sources
from dispatcher.fallback.breaker import Breaker
from dispatcher.fallback.channels import check_names
from dispatcher.fallback.due import FallbackDue
from dispatcher.fallback.jobs import VendorJob
from dispatcher.fallback.port import Channel
from dispatcher.fallback.token_guard import TokenGuard
from dispatcher.fallback.worker import VendorWorker
from dispatcher.gauges import QueueGauges
from dispatcher.intake import Intake
from dispatcher.later import Expiry, LaterPoller
from dispatcher.ledger import Ledger
from dispatcher.node_client import NodeClients
from dispatcher.pace import Gaps, Rate
from dispatcher.pipeline import Pipeline
from dispatcher.pokes import Poker
from dispatcher.receipts import Receipts
from dispatcher.relay import Relay
from dispatcher.republish import Republisher
from dispatcher.sent import NodeWatch, Sent
from dispatcher.settings import DispatcherSettings
from dispatcher.suspects import Suspects
from dispatcher.sweep import Sweep
from dispatcher.vendor_routes import VendorRoutes
from dispatcher.whereabouts import Whereabouts
from push_core.adapters import Ports
from push_core.clock import Clock
from push_core.envelope import Envelope, queue_name, vendor_queue_name
from push_core.messages.port import Task
from push_core.models import Priority
from push_core.queues.port import Source
from push_core.rpc.port import Peers
from push_core.tasks import Crew


@dataclass(slots=True)
class Parts:
    ledger: Ledger
    nodes: NodeClients
    routes: VendorRoutes
    whereabouts: Whereabouts
    pipeline: Pipeline
    intake: Intake[Envelope]
    receipts: Receipts
    node_watch: NodeWatch
    relays: list[Relay]  # one for each store
    gauges: QueueGauges
    later: LaterPoller
    sweep: Sweep
    workers: list[VendorWorker]
    vendor_intakes: list[Intake[VendorJob]]

    @property
    def relay(self) -> Relay:
        """That of the first store, which is usually the only one."""
        return self.relays[0]


def build(
    settings: DispatcherSettings, ports: Ports, clock: Clock, peers: Peers, crew: Crew, channels: Sequence[Channel]
) -> Parts:
    """`channels` are those that this process calls; `settings.vendor_channels` are those on offer, wherever they are called.
    Raises ConfigError for a channel that does not exist."""
    check_names(settings.vendor_channels)
    messages, queues, trail, metrics = ports.messages, ports.queues, ports.trail, ports.metrics
    ledger = Ledger(
        messages,
        trail,
        metrics,
        clock.wall_ms,
        parallel=settings.apply_parallel,
        bound=settings.apply_bound,
    )
    nodes = NodeClients(peers, settings, clock, metrics)
    poker = Poker(ports.presence, peers, min(settings.call_timeout_s, settings.silent_node_s), nodes.holding_up)
    told_again = Gaps(int(settings.told_again_s * 1_000), int(settings.told_again_max_s * 1_000))
    actions = Actions(messages, queues, ledger, poker, clock, told_again)
    routes = VendorRoutes(
        ports.devices,
        settings.vendor_channels,
        ttl_s=settings.device_cache_s,
        size=settings.device_cache,
        monotonic=clock.monotonic,
    )
    whereabouts = Whereabouts(
        ports.presence,
        metrics,
        ttl_s=settings.route_cache_s,
        stale_s=settings.route_stale_s,
        size=settings.route_cache,
        monotonic=clock.monotonic,
    )
    sent = Sent(settings.sent_memory_s, settings.sent_memory, clock.monotonic)
    pipeline = Pipeline(
        messages=messages,
        devices=ports.devices,
        presence=ports.presence,
        whereabouts=whereabouts,
        trail=trail,
        metrics=metrics,
        actions=actions,
        nodes=nodes,
        poker=poker,
        broadcaster=Broadcaster(messages, ports.presence, peers, nodes, trail, metrics, settings, clock),
        routes=routes,
        sent=sent,
        crew=crew,
        settings=settings,
        clock=clock,
    )
    republisher = Republisher(
        messages,
        queues,
        actions,
        trail,
        metrics,
        clock,
        rate=Rate(settings.relay_rate, settings.relay_rate_max),
        gaps=Gaps(int(settings.relay_gap_s * 1_000), int(settings.relay_max_gap_s * 1_000)),
    )
    fallback = FallbackDue(
        messages,
        queues,
        routes,
        ledger,
        trail,
        clock,
        net_s=settings.vendor_net_s,
        most_tries=settings.vendor_tries,
    )
    breaker = Breaker(settings.breaker_failures, settings.breaker_open_s)
    guard = TokenGuard()
    holder = f"dispatcher-{uuid.uuid4().hex}"
    suspects = Suspects(ports.claims, holder, most=settings.poison_deaths)
    workers = [
        VendorWorker(
            channel=channel,
            messages=messages,
            claims=ports.claims,
            queues=queues,
            routes=routes,
            ledger=ledger,
            trail=trail,
            metrics=metrics,
            breaker=breaker,
            guard=guard,
            settings=settings,
            clock=clock,
            holder=holder,
        )
        for channel in channels
    ]
    return Parts(
        ledger=ledger,
        nodes=nodes,
        routes=routes,
        whereabouts=whereabouts,
        pipeline=pipeline,
        intake=Intake(
            "intake",
            queues,
            sources(settings),
            EnvelopeWork(pipeline, messages, ledger, metrics, clock),
            metrics,
            suspects,
            parallel=settings.batches_in_flight,
            pause_max_s=settings.pause_max_s,
            poison_tries=settings.poison_tries,
            deadly=settings.poison_deaths,
            together=settings.batches_together,
        ),
        receipts=Receipts(messages, ledger, actions, routes, metrics, settings, clock, lambda: ports.control.shard_map),
        node_watch=NodeWatch(
            sent, ports.presence, messages, queues, nodes, metrics, clock.wall_ms, unreached_s=settings.unreached_s
        ),
        relays=[
            Relay(
                store,
                queues,
                ports.claims,
                metrics,
                clock,
                holder=holder,
                lags_s=(settings.relay_first_s, settings.relay_second_s, settings.relay_third_s),
                gap_s=settings.relay_gap_s,
                page=settings.relay_page,
                place=f"{number}." if number else "",
            )
            for number, store in enumerate(messages.stores())
        ],
        gauges=QueueGauges(
            queues,
            metrics,
            [
                *(queue_name(name, priority) for name in settings.classes for priority in Priority),
                *(vendor_queue_name(name) for name in settings.vendor_channels),
            ],
        ),
        later=LaterPoller(
            messages,
            clock,
            {
                Task.REPUBLISH: republisher.due,
                Task.FALLBACK: fallback.due,
                Task.EXPIRE: Expiry(messages, ledger, clock).due,
            },
            hold_s=settings.later_hold_s,
            limit=settings.later_batch,
        ),
        sweep=Sweep(
            messages,
            ports.presence,
            ledger,
            clock,
            batch=settings.sweep_batch,
            retention_s=settings.retention_s,
        ),
        workers=workers,
        vendor_intakes=[
            Intake(
                f"vendor {worker.channel.name}",
                queues,
                [Source(vendor_queue_name(worker.channel.name), prefetch=settings.vendor_parallel)],
                worker,
                metrics,
                suspects,
                parallel=settings.vendor_parallel,
                pause_max_s=settings.pause_max_s,
                poison_tries=settings.poison_tries,
                deadly=settings.poison_deaths,
            )
            for worker in workers
        ],
    )
