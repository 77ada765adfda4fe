"""What presence in Redis costs: CPU of this process and of Redis for each device, by operation and batch, and memory of a route.

`python -m bench.presence --json`. A private Redis on loopback, uvloop, one batch at a time. CPU is user + system, ours by the process's
clock, Redis's by its own (`INFO cpu`), around many batches that are made before. Devices have names of an app and a UUID and an
installation as our SDKs make it; they are spread over as many nodes as are asked for.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import redis
import uvloop

from bench.machine import print_header, print_json
from ops.cluster.servers import RedisServer
from push_core.dsn import Dsn
from push_core.models import DeviceKey
from push_core.presence.port import Node, Route
from push_core.presence.redis import RedisPresence
from push_core.redis.place import SCHEMES

APP = "courier"
METHOD = (
    "private Redis on loopback, one batch at a time; CPU a device = process time of this process, and used_cpu of INFO, over the devices "
    "asked for; memory = used_memory with all routes less that before, over the routes"
)
Operation = Callable[[Sequence[Any]], Awaitable[object]]


def routes_of(devices: int, nodes: Sequence[Node]) -> list[Route]:
    chance = random.Random(1)
    return [
        Route(
            app=APP,
            device=str(uuid.UUID(int=chance.getrandbits(128))),
            incarnation=nodes[number % len(nodes)].incarnation,
            epoch=1 + number // len(nodes),
            install=f"{chance.getrandbits(128):032x}",
            attempt=1 + number % 1_000,
            since=1_790_000_000_000 + number,
        )
        for number in range(devices)
    ]


async def measure(server: redis.Redis, what: Operation, batches: Sequence[Sequence[Any]]) -> dict[str, float]:
    count = sum(map(len, batches))
    redis_before, before, began = _redis_cpu_s(server), time.process_time(), time.perf_counter()
    for batch in batches:
        await what(batch)
    spent, wall = time.process_time() - before, time.perf_counter() - began
    return {
        "client_us": round(spent / count * 1e6, 2),
        "redis_us": round((_redis_cpu_s(server) - redis_before) / count * 1e6, 2),
        "wall_us": round(wall / count * 1e6, 2),
    }


async def run(dsn: str, devices: int, nodes: int, per_step: int, options: str) -> dict[str, Any]:
    presence = RedisPresence.open(Dsn.parse(f"{dsn}?{options}", "[stores] presence", SCHEMES))
    server = redis.Redis.from_url(dsn)
    server.ping()
    before = server.info("memory")["used_memory"]
    gateways = [
        Node(incarnation=f"{number:016x}", name=f"gw-{number}", address=f"10.0.0.{number}:7001", zone="default")
        for number in range(nodes)
    ]
    for node in gateways:
        await presence.lease_node(node, 600.0)
    routes = routes_of(devices, gateways)
    figures: dict[str, Any] = {"sign_in": {"64": await measure(server, presence.sign_in, parts(routes, 64))}}
    memory = server.info("memory")["used_memory"] - before
    figures["bytes_per_route"] = round(memory / devices, 1)
    figures["encodings"] = encodings(server)
    figures["sign_in_again"] = {"64": await measure(server, presence.sign_in, sample(routes, 64, per_step))}
    figures["locate"] = {}
    for batch in (1, 16, 64, 256):
        keys: list[list[DeviceKey]] = [
            [(route.app, route.device) for route in part]
            for part in sample(routes, batch, per_step if batch > 1 else per_step // 10)
        ]
        figures["locate"][str(batch)] = await measure(server, presence.locate, keys)
    figures["register_again"] = {"200": await measure(server, presence.register_again, sample(routes, 200, per_step))}
    figures["sign_out"] = {"64": await measure(server, presence.sign_out, parts(routes[:per_step], 64))}
    server.close()
    await presence.close()
    return figures


def parts(routes: Sequence[Route], size: int) -> list[Sequence[Route]]:
    return [routes[start : start + size] for start in range(0, len(routes), size)]


def sample(routes: Sequence[Route], size: int, count: int) -> list[list[Route]]:
    return [random.sample(routes, size) for _ in range(max(1, count // size))]


def encodings(server: redis.Redis) -> dict[str, int]:
    """Of the buckets: as long as they are listpacks, a route is small."""
    found: dict[str, int] = {}
    for key in server.scan_iter("*:r:*", count=1_000):
        name = server.object("encoding", key).decode()
        found[name] = found.get(name, 0) + 1
    return found


def _redis_cpu_s(server: redis.Redis) -> float:
    cpu = server.info("cpu")
    return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--nodes", type=int, default=8, help="gateways that the devices are on")
    parser.add_argument("--per-step", type=int, default=50_000, help="devices asked for in each step but the first")
    parser.add_argument("--options", default="timeout_ms=5000", help="of the DSN: buckets=16384")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if not RedisServer.available():
        print("bench.presence: redis-server is not installed: apt-get install redis-server", file=sys.stderr)
        return 2
    header = print_header("presence", METHOD, vars(given), as_json=given.json)
    folder = Path(tempfile.mkdtemp(prefix="taco-bench-"))
    try:
        with RedisServer(folder) as server:
            figures = uvloop.run(run(server.dsn, given.devices, given.nodes, given.per_step, given.options))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if given.json:
        print_json(header.to_dict() | figures)
        return 0
    for name, by_batch in figures.items():
        if not isinstance(by_batch, dict) or name == "encodings":
            print(f"{name}: {by_batch}")
            continue
        for batch, figure in by_batch.items():
            print(f"{name} × {batch}: " + ", ".join(f"{key} {value}" for key, value in figure.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
