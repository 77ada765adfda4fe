"""What protection costs, and whether a cache of routes would pay. `python -m bench.protection --json`.

Each step by itself, on uvloop, in CPU of this process: what stands in the way of every request and every remote call, when all is well. Then the
looking up of routes in a private Redis on loopback, with a cache in front and without one: batches of 64 devices at random out of as many as a
dispatcher has, at its rate, by a clock that is moved by hand; CPU of this process and of Redis for each device.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import redis
import uvloop

from bench.machine import print_header, print_json
from bench.presence import _redis_cpu_s as redis_cpu_s
from bench.presence import routes_of
from ops.cluster.servers import RedisServer
from push_core.breaker import Breaker, BreakerTerms
from push_core.cache import Cache
from push_core.dsn import Dsn
from push_core.fuse import Fuse
from push_core.limits.addresses import AddressLimits
from push_core.limits.memory import MemoryLimits
from push_core.limits.port import Ask
from push_core.limits.shared import SharedBuckets
from push_core.metrics.null import NullMetrics
from push_core.models import DeviceKey
from push_core.presence.port import Located, Node
from push_core.presence.redis import RedisPresence
from push_core.redis.place import SCHEMES
from push_core.shedder import Ended, Shedder, ShedderTerms

METHOD = "uvloop, one step at a time; CPU = process time over the times that it was done, for Redis used_cpu of INFO"
BATCH = 64
TTL_S = 1.0


def each(times: int, step: Callable[[], object]) -> float:
    """CPU of one, in µs, the loop around it taken off."""
    began = time.process_time()
    for _ in range(times):
        step()
    spent = time.process_time() - began
    began = time.process_time()
    for _ in range(times):
        _nothing()
    return round((spent - (time.process_time() - began)) / times * 1e6, 3)


async def each_awaited(times: int, step: Callable[[], Awaitable[object]]) -> float:
    began = time.process_time()
    for _ in range(times):
        await step()
    spent = time.process_time() - began
    began = time.process_time()
    for _ in range(times):
        await _nothing_awaited()
    return round((spent - (time.process_time() - began)) / times * 1e6, 3)


def _nothing() -> None:
    pass


async def _nothing_awaited() -> None:
    pass


async def steps(times: int) -> dict[str, float]:
    breaker, now = Breaker(BreakerTerms()), time.monotonic

    def breaker_step() -> None:
        breaker.allows(now())
        breaker.succeeded(now())

    fuse = Fuse("redis", "redis", BreakerTerms(), NullMetrics())
    idle, busy = Shedder(ShedderTerms()), Shedder(ShedderTerms())
    for _ in range(200):
        busy.began(now())

    def visit(shedder: Shedder, lag_s: float) -> None:
        shedder.pressure(lag_s, now())
        shedder.ended(shedder.began(now()), now(), Ended.SERVED)

    addresses = AddressLimits(1e9, 1e9)
    buckets = SharedBuckets(MemoryLimits(), NullMetrics(), timeout_s=0.25, away_s=1.0, share=0.5)
    ask = Ask("app:demo", 1.0, 1e9, 1e9)

    async def load(keys: Any) -> list[int]:
        return [1] * len(keys)

    cache: Cache[DeviceKey, int] = Cache(load, ttl_s=1e6, size=1_000_000)
    keys = [("courier", f"device-{number}") for number in range(BATCH)]
    await cache.get_many(keys)
    fresh = iter([[("courier", f"{part}-{number}") for number in range(BATCH)] for part in range(times // BATCH)])

    async def together() -> None:
        await asyncio.gather(*(buckets.take(ask) for _ in range(BATCH)))

    figures = {
        "breaker": each(times, breaker_step),
        "fuse_around_a_call": await each_awaited(times, lambda: fuse.run(_nothing_awaited)),
        "shedder": each(times, lambda: visit(idle, 0.0)),
        "shedder_overloaded": each(times, lambda: visit(busy, 0.3)),
        "address_bucket": each(times, lambda: addresses.take("192.0.2.7")),
        "shared_bucket_of_64_together": round(await each_awaited(times // BATCH, together) / BATCH, 3),
        "cache_get": await each_awaited(times, lambda: cache.get(keys[0])),
        "cache_hit_of_64": round(await each_awaited(times // BATCH, lambda: cache.get_many(keys)) / BATCH, 3),
        "cache_miss_of_64": round(await each_awaited(times // BATCH, lambda: cache.get_many(next(fresh))) / BATCH, 3),
    }
    await buckets.close()
    await cache.close()
    return figures


async def routes(dsn: str, devices: int, per_s: int, count: int) -> dict[str, Any]:
    """Looking routes up at `per_s` a second, out of so many devices."""
    presence = RedisPresence.open(Dsn.parse(dsn, "[stores] presence", SCHEMES))
    server = redis.Redis.from_url(dsn)
    server.flushall()
    nodes = [Node(incarnation=f"{n:016x}", name=f"gw-{n}", address=f"10.0.0.{n}:7001", zone="default") for n in (0, 1)]
    for node in nodes:
        await presence.lease_node(node, 600.0)
    known = routes_of(devices, nodes)
    for start in range(0, devices, 500):
        await presence.sign_in(known[start : start + 500])
    keys = [(route.app, route.device) for route in known]
    chance = random.Random(7)
    batches = [chance.choices(keys, k=BATCH) for _ in range(count // BATCH)]
    now, loaded = 0.0, 0

    async def load(missing: Any) -> list[Located | None]:
        nonlocal loaded
        loaded += len(missing)
        return await presence.locate(missing)

    cache: Cache[DeviceKey, Located] = Cache(load, ttl_s=TTL_S, size=100_000, renew=1.0, monotonic=lambda: now)

    async def cpu(what: Callable[[Any], Awaitable[object]]) -> tuple[float, float]:
        nonlocal now
        redis_before, before = redis_cpu_s(server), time.process_time()
        for batch in batches:
            await what(batch)
            now += BATCH / per_s
        spent = time.process_time() - before
        return round(spent / count * 1e6, 2), round((redis_cpu_s(server) - redis_before) / count * 1e6, 2)

    await cpu(presence.locate)  # warm
    plain, cached = await cpu(presence.locate), await cpu(cache.get_many)
    server.close()
    await presence.close()
    return {
        "devices": devices,
        "per_s": per_s,
        "hits": round(1 - loaded / count, 3),
        "without_us": plain,
        "with_us": cached,
    }


async def run(dsn: str, times: int, count: int) -> dict[str, Any]:
    figures: dict[str, Any] = {"steps_us": await steps(times), "routes": []}
    for devices, per_s in ((100, 6_000), (1_000, 6_000), (5_000, 6_000), (50_000, 6_000)):
        figures["routes"].append(await routes(dsn, devices, per_s, count))
    return figures


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--times", type=int, default=200_000, help="how often each step is done")
    arguments.add_argument("--count", type=int, default=100_000, help="routes looked up a line")
    arguments.add_argument("--json", action="store_true", help="one JSON object as the last line")
    given = arguments.parse_args()
    if not RedisServer.available():
        print("bench.protection: redis-server is not installed: apt-get install redis-server", file=sys.stderr)
        return 2
    header = print_header("protection", METHOD, vars(given), as_json=given.json)
    folder = Path(tempfile.mkdtemp(prefix="taco-bench-"))
    try:
        with RedisServer(folder) as server:
            figures = uvloop.run(run(server.dsn, given.times, given.count))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        print_json(header.to_dict() | figures)
        return 0
    for name, us in figures["steps_us"].items():
        print(f"{name:32} {us:8.3f} µs")
    for line in figures["routes"]:
        print(
            f"{line['devices']:7,} devices at {line['per_s']:,}/s: hits {line['hits']:.0%}; client and Redis without a cache "
            f"{line['without_us']} µs, with one {line['with_us']} µs"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
