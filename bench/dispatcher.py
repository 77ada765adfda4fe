"""CPU of the dispatcher per message: `python -m bench.dispatcher [--messages 40000] [--json]`.

Batches are read, screened, routed, offered and settled as in the program, with presence, trail and RPC in the process and gateways that accept
everything; receipts go through the service into a store that takes everything. What it leaves out is what real neighbours cost.
"""

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.envelopes import envelope
from bench.machine import print_header, print_json
from dispatcher.parts import build
from dispatcher.settings import DispatcherSettings
from push_core.adapters import Ports
from push_core.claims.memory import MemoryClaims
from push_core.clock import Clock, wall_ms
from push_core.control.sql import SqlControl
from push_core.control.watch import ControlWatch
from push_core.devices.sql import SqlDevices
from push_core.envelope import Envelope, encode_batch, queue_name
from push_core.ids import make_id
from push_core.limits.memory import MemoryLimits
from push_core.messages.port import Applied, Change, Messages, Outcome
from push_core.messages.sql import SqlMessages
from push_core.metrics.null import NullMetrics
from push_core.models import Priority
from push_core.presence.memory import MemoryPresence
from push_core.presence.port import Node, Route
from push_core.queues.memory import MemoryQueues
from push_core.queues.port import Taken
from push_core.rpc.inproc import InprocRpc
from push_core.rpc.port import (
    Broadcast,
    Deliver,
    Delivered,
    Kick,
    Poke,
    Receipt,
    ReceiptKind,
    Stage,
    Subscription,
    Tally,
)
from push_core.tasks import Crew
from push_core.trail.memory import MemoryTrail

APP = "courier"
DEVICES = 1_000
NODES = 2
METHOD = (
    "process CPU time over all messages, median of 5 rounds; presence, trail and RPC in the process, metrics off, {nodes} gateways that accept "
    "everything, {devices} devices, one device a message, 200-byte pushes; receipts into a store that takes everything"
)


class AcceptingNode:
    async def deliver(self, call: Deliver) -> Delivered:
        return Delivered(bytes(sum(len(offer.devices) for offer in call.offers)))

    async def kick(self, kicks: Sequence[Kick]) -> list[bool]:
        return [False] * len(kicks)

    async def poke(self, pokes: Sequence[Poke]) -> None:
        pass

    async def broadcast(self, call: Broadcast) -> list[Tally]:
        return [Tally(Stage.DONE)] * len(call.casts)

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> list[bool]:
        return [False] * len(subscriptions)


async def take_all(changes: Sequence[Change], *, now: int) -> Outcome:
    del now
    return Outcome([Applied.MADE] * len(changes), [])


class Bench:
    def __init__(self, ports: Ports) -> None:
        self.ports = ports
        self.crew = Crew("bench", ports.metrics)
        self.parts = build(DispatcherSettings(), ports, Clock(), ports.rpc.peers(), self.crew, [])

    @classmethod
    async def open(cls) -> "Bench":
        rpc, presence = InprocRpc(), MemoryPresence()
        messages: Messages = await SqlMessages.open("sqlite://")
        messages.apply = take_all  # type: ignore[method-assign]
        ports = Ports(
            messages=messages,
            devices=await SqlDevices.open("sqlite://"),
            control=ControlWatch(await SqlControl.open("sqlite://"), None),
            presence=presence,
            claims=MemoryClaims(),
            limits=MemoryLimits(),
            queues=MemoryQueues(),
            trail=MemoryTrail(),
            metrics=NullMetrics(),
            rpc=rpc,
        )
        for n in range(NODES):
            listener = rpc.listen(node=AcceptingNode(), zone="default")
            await listener.start()
            name = f"gw-{n}"
            await presence.lease_node(Node(incarnation=name, name=name, address=listener.address, zone="default"), 1e9)
            devices = range(n, DEVICES, NODES)
            await presence.sign_in([Route(app=APP, device=f"d-{d}", incarnation=name, epoch=d + 1) for d in devices])
        return cls(ports)

    async def pipeline_us(self, messages: int, batch: int, under_way: int = 4) -> float:
        """Microseconds of CPU per message, `under_way` batches at a time as the intake has them."""
        bodies = [encode_batch(envelopes(start, batch)) for start in range(0, messages, batch)]
        queue = queue_name("shared", Priority.NORMAL)
        waiting = iter(bodies)

        async def worker() -> None:
            for body in waiting:
                await self.parts.intake.settle(Taken(queue, body, 0, False, 0, 0.0))

        began = time.process_time()
        await asyncio.gather(*(worker() for _ in range(under_way)))
        return (time.process_time() - began) * 1e6 / (len(bodies) * batch)

    async def receipts_us(self, messages: int, batch: int, under_way: int = 4) -> float:
        now = wall_ms()
        reports = iter(
            [
                [
                    Receipt(make_id(now, 0, 0, n % 128), APP, f"d-{n}", ReceiptKind.RECEIVED, now, now, 0, stored=False)
                    for n in range(batch)
                ]
                for _ in range(messages // batch)
            ]
        )

        async def worker() -> None:
            for report in reports:
                await self.parts.receipts.report(report)

        began = time.process_time()
        await asyncio.gather(*(worker() for _ in range(under_way)))
        return (time.process_time() - began) * 1e6 / (messages // batch * batch)

    async def close(self) -> None:
        await self.parts.receipts.close()
        await self.parts.nodes.close()
        await self.parts.ledger.close()
        await self.ports.close()


def envelopes(start: int, count: int) -> list[Envelope]:
    now = wall_ms() + 600_000  # young for as long as the bench runs, as most are when they are taken
    return [
        envelope(make_id(now, n >> 7 & 255, 1, n & 127), APP, f"d-{n % DEVICES}", now)
        for n in range(start, start + count)
    ]


async def measure(messages: int, rounds: int) -> dict[str, Any]:
    bench = await Bench.open()
    result: dict[str, Any] = {"pipeline_us": {}, "receipts_us": {}}
    for batch in (64, 256):
        await bench.pipeline_us(messages // 10, batch)
        result["pipeline_us"][str(batch)] = round(
            sorted([await bench.pipeline_us(messages, batch) for _ in range(rounds)])[rounds // 2], 2
        )
        result["receipts_us"][str(batch)] = round(
            sorted([await bench.receipts_us(messages, batch) for _ in range(rounds)])[rounds // 2], 2
        )
    await bench.close()
    return result


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop's where there is one, as in the program."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.dispatcher", description="CPU of the dispatcher per message")
    parser.add_argument("--messages", type=int, default=40_000, help="messages a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="nothing but one JSON object on stdout")
    given = parser.parse_args(arguments)
    settings = {"messages": given.messages, "rounds": given.rounds}
    method = METHOD.format(nodes=NODES, devices=DEVICES)
    header = print_header("bench.dispatcher", method, settings, as_json=given.json)
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        result = runner.run(measure(given.messages, given.rounds))
    for what, by_batch in result.items():
        for batch, us in by_batch.items():
            print(
                f"{what.removesuffix('_us')}, batches of {batch}: {us} µs a message",
                file=sys.stderr if given.json else sys.stdout,
            )
    print_json({**result, **header.to_dict()})


if __name__ == "__main__":
    main()
