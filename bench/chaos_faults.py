"""The faults: what is done to which process, and when it is over.

A program that is killed is a fault of an instant: its starter's restart is part of the recovery. A server's outage lasts until it answers
again: its restart is its makers', not ours.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import aiormq
import redis.asyncio

from bench.cluster_process import ClusterProcess, ServerProcess
from bench.tcp_proxy import TcpProxy
from push_core.dsn import Dsn
from push_core.envelope import queue_name
from push_core.models import Priority
from push_core.queues.amqp_settings import SCHEMES, AmqpSettings

STOPPED_S = 20.0
BACK_S = 60.0
REDIS_LATE_S = 2.0
GATEWAY, DISPATCHER, API, RELAY = "gateway-1", "dispatcher-1", "api-1", "relay-1"


@dataclass(slots=True)
class Target:
    """What faults are done to. `redis_proxy` stands before Redis in the cluster of the fault that needs it; None in others."""

    cluster: ClusterProcess
    redis_proxy: TcpProxy | None = None
    stopped_s: float = STOPPED_S


Work = Callable[[Target], Awaitable[tuple[float, float]]]
"""Does the fault; when it began and ended, in monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`gateway`: the one whose phones it concerns, if it is one's. `spares_others`: phones of other gateways must not notice."""

    name: str
    work: Work
    gateway: str | None = None
    spares_others: bool = False
    redis_proxy: bool = False


def _kill(name: str) -> Work:
    async def work(target: Target) -> tuple[float, float]:
        began = monotonic()
        pid = target.cluster.kill(name)
        await target.cluster.back(name, after=pid, within_s=BACK_S)
        return began, began

    return work


def _server(of: Callable[[ClusterProcess], "ServerProcess[Any]"], how: str) -> Work:
    async def work(target: Target) -> tuple[float, float]:
        server = of(target.cluster)
        began = monotonic()
        pid = getattr(server, how)()
        await server.back(after=pid, within_s=BACK_S)
        return began, monotonic()

    return work


def _stop(name: str) -> Work:
    async def work(target: Target) -> tuple[float, float]:
        async with _paused(target.cluster, name) as began:
            await asyncio.sleep(target.stopped_s)
        return began, monotonic()

    return work


@asynccontextmanager
async def _paused(cluster: ClusterProcess, name: str) -> AsyncIterator[float]:
    began = monotonic()
    cluster.pause(name)
    try:
        yield began
    finally:
        cluster.resume(name)


async def _delete_queue(target: Target) -> tuple[float, float]:
    """The one of normal priority, with whatever is in it."""
    dsn = target.cluster.rabbit.dsn
    settings = AmqpSettings.read(Dsn.parse(dsn, "[stores] queues", SCHEMES))
    async with aiormq.connect(dsn) as connection:
        channel = await connection.channel()
        began = monotonic()
        await channel.queue_delete(settings.name(queue_name("shared", Priority.NORMAL)))
    return began, began


async def _flush_redis(target: Target) -> tuple[float, float]:
    client = redis.asyncio.Redis.from_url(target.cluster.redis.dsn)
    try:
        began = monotonic()
        await client.flushall()
    finally:
        await client.aclose()
    return began, began


async def _slow_redis(target: Target) -> tuple[float, float]:
    proxy = target.redis_proxy
    if proxy is None:
        raise RuntimeError("this fault needs a proxy before Redis")
    began = monotonic()
    proxy.answer_delay_s = REDIS_LATE_S
    try:
        await asyncio.sleep(target.stopped_s)
    finally:
        proxy.answer_delay_s = 0.0
    return began, monotonic()


FAULTS = (
    Fault("kill_gateway", _kill(GATEWAY), gateway=GATEWAY, spares_others=True),
    Fault("kill_dispatcher", _kill(DISPATCHER)),
    Fault("kill_api", _kill(API)),
    Fault("kill_relay", _kill(RELAY)),
    Fault("restart_rabbitmq", _server(lambda cluster: cluster.rabbit, "terminate")),
    Fault("kill_rabbitmq", _server(lambda cluster: cluster.rabbit, "kill")),
    Fault("delete_queue", _delete_queue),
    Fault("kill_redis", _server(lambda cluster: cluster.redis, "kill")),
    Fault("flush_redis", _flush_redis),
    Fault("kill_mariadb", _server(lambda cluster: cluster.maria, "kill")),
    Fault("stop_gateway", _stop(GATEWAY), gateway=GATEWAY, spares_others=True),
    Fault("stop_dispatcher", _stop(DISPATCHER)),
    Fault("stop_mariadb", _stop("mariadb")),
    Fault("slow_redis", _slow_redis, redis_proxy=True),
)
BY_NAME = {fault.name: fault for fault in FAULTS}
