"""What RabbitMQ costs: CPU of this process and of the broker for each body, out and in. `python -m bench.queues --json`.

A private RabbitMQ on loopback, uvloop, bodies of 1 and 20 kB, published so many in one call, one call at a time; taken and acked one at a time, which is how
an intake does it. `plain` is the driver's own way beside ours: a publish each with its confirm, 32 under way, and a callback for each delivery.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiormq
import uvloop
from pamqp import commands as spec

from bench.machine import cpu_seconds, print_header, print_json
from ops.cluster.servers import RabbitServer
from push_core.dsn import Dsn
from push_core.queues.amqp import AmqpQueues
from push_core.queues.amqp_settings import SCHEMES, AmqpSettings
from push_core.queues.port import Parcel, Published, Source

QUEUE = "bench"
SIZES = (1_000, 20_000)
CALLS = (1, 4, 32)  # bodies in one publish
METHOD = (
    "private RabbitMQ on loopback, uvloop; CPU a body = process time of this process, and of the Erlang VM, over the bodies; one publish "
    "call at a time, each waits for its confirms"
)


@asynccontextmanager
async def opened(server: RabbitServer, **how: Any) -> AsyncIterator[AmqpQueues]:
    dsn = f"{server.dsn}?prefix=bench.&length=1000000&queue_bytes=4000000000"
    queues = AmqpQueues(AmqpSettings.read(Dsn.parse(dsn, "--dsn", SCHEMES)), **how)
    try:
        await queues.ping()
        yield queues
    finally:
        await queues.close()


async def measure(server: RabbitServer, count: int, work: Callable[[], Awaitable[None]]) -> dict[str, float]:
    broker, ours, began = cpu_seconds(server.pid), cpu_seconds(), time.perf_counter()
    await work()
    spent, wall = cpu_seconds() - ours, time.perf_counter() - began
    return {
        "client_us": round(spent / count * 1e6, 1),
        "beam_us": round((cpu_seconds(server.pid) - broker) / count * 1e6, 1),
        "wall_us": round(wall / count * 1e6, 1),
    }


async def ours(server: RabbitServer, size: int, count: int) -> dict[str, Any]:
    body = os.urandom(size)
    figures: dict[str, Any] = {"publish": {}}
    async with opened(server) as queues:
        assert await queues.publish([Parcel(QUEUE, body)]) == [Published.CONFIRMED]  # makes the queue
        consumer = await queues.consume([Source(QUEUE, prefetch=16)])
        await consumer.ack([(await consumer.take()).tag])

        async def publish(at_a_time: int) -> None:
            for _ in range(count // at_a_time):
                await queues.publish([Parcel(QUEUE, body)] * at_a_time)

        async def take() -> None:
            for _ in range(count // CALLS[-1] * CALLS[-1]):
                await consumer.ack([(await consumer.take()).tag])

        for at_a_time in CALLS:
            bodies = count // at_a_time * at_a_time
            figures["publish"][str(at_a_time)] = await measure(server, bodies, lambda n=at_a_time: publish(n))  # type: ignore[misc]
            if at_a_time != CALLS[-1]:
                for _ in range(bodies):
                    await consumer.ack([(await consumer.take()).tag])
        figures["take"] = await measure(server, count, take)
    return figures


async def plain(server: RabbitServer, size: int, count: int) -> dict[str, Any]:
    body = os.urandom(size)
    connection: Any = await aiormq.connect(server.dsn)
    channel = await connection.channel()
    await channel.queue_declare(QUEUE, arguments={"x-max-length": 1_000_000, "x-overflow": "reject-publish"})
    properties = spec.Basic.Properties(delivery_mode=1)

    async def publish() -> None:
        for _ in range(count // 32):
            await asyncio.gather(
                *(
                    channel.basic_publish(body, routing_key=QUEUE, properties=properties, mandatory=True, wait=False)
                    for _ in range(32)
                )
            )

    figures: dict[str, Any] = {"publish": await measure(server, count, publish)}
    taking = await connection.channel(publisher_confirms=False)
    await taking.basic_qos(prefetch_count=16)
    left = count // 32 * 32
    done = asyncio.Event()

    async def taken(message: Any) -> None:
        nonlocal left
        await taking.basic_ack(message.delivery_tag, wait=False)
        left -= 1
        if not left:
            done.set()

    async def take() -> None:
        await taking.basic_consume(QUEUE, taken)
        await done.wait()

    figures["take"] = await measure(server, count, take)
    await channel.queue_delete(QUEUE)
    await connection.close()
    return figures


async def run(server: RabbitServer, count: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for size in SIZES:
        found[str(size)] = {"ours": await ours(server, size, count), "plain": await plain(server, size, count)}
    return {"bodies": found}


def main() -> int:
    parser = argparse.ArgumentParser(description="What RabbitMQ costs, out and in.")
    parser.add_argument("--count", type=int, default=6_400, help="bodies of each figure")
    parser.add_argument("--json", action="store_true", help="header on stderr, result on stdout")
    given = parser.parse_args()
    header = print_header("queues", METHOD, vars(given), as_json=given.json)
    folder = Path(tempfile.mkdtemp(prefix="bench-queues-"))
    server = RabbitServer(folder, schedulers=2)
    try:
        server.start()
        found = uvloop.run(run(server, given.count // 32 * 32))
    finally:
        server.stop()
        shutil.rmtree(folder, ignore_errors=True)
    print_json({"header": header.to_dict(), **found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
