"""What the push API costs: CPU of its process per message, single requests and batches over HTTP. `python -m bench.api --json`.

The API runs alone in a process of its own, so that its CPU is its own (user and system, all threads, from /proc); the caller is another process
and is not counted. The store is a SQLite file with the settings of production, or `none`: commits at once and keeps nothing, which leaves the
API's own share. The queue confirms and drops, so that no consumer's CPU is in the figures.
"""

import argparse
import asyncio
import hashlib
import itertools
import json
import sys
import tempfile
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any

import structlog
import uvloop

from bench.lean_http import LeanHttp
from bench.machine import CpuMeter, print_header, print_json
from push_api.app import PushApi
from push_api.settings import ApiSettings
from push_core.adapters import StoreSettings, open_ports
from push_core.clock import Clock, WallMs
from push_core.messages.port import Commit, Committed, NewMessage
from push_core.models import App
from push_core.queues.port import Parcel, Published

KEY = "bench.secret"
DEVICES = 1_000
BUDGET_US = {1: 100, 100: 30}  # single requests without the store's share
METHOD = (
    "closed loop over HTTP/1.1 keep-alive on loopback, a warm-up before; CPU of the API's process (user + system, all threads) "
    "per message; messages of about 200 bytes, one device each, no idempotency keys; the queue confirms and drops"
)


class NoStore:
    """Commits at once and keeps nothing; the leases are the real store's."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def commit(self, batch: Sequence[NewMessage], *, now: WallMs, oldest_ms: int = 5_000) -> list[Committed]:
        del now, oldest_ms
        return [Committed(Commit.DONE, item.envelope.id) for item in batch]


class NoQueue:
    """Confirms and drops."""

    async def publish(self, parcels: Sequence[Parcel]) -> list[Published]:
        return [Published.CONFIRMED] * len(parcels)


async def serve(store: str) -> None:
    """The measured process: prints its address, ends with its stdin."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    with tempfile.TemporaryDirectory(prefix="bench-api-") as folder:
        settings = StoreSettings(
            messages=f"sqlite:///{Path(folder, 'messages.sqlite')}", devices="sqlite://", rpc="inproc://"
        )
        ports = await open_ports(settings, clock=Clock(), data=None)
        app, _, secret = KEY.partition(".")
        await ports.devices.put_apps([App(name=app, key_hashes=(hashlib.sha256(secret.encode()).hexdigest(),))])
        queues, messages = ports.queues, ports.messages
        ports.queues = NoQueue()  # type: ignore[assignment]
        if store == "none":
            ports.messages = NoStore(messages)
        api = PushApi(ApiSettings(port=0, grpc_port=-1), ports)
        await api.start()
        print(api.url, flush=True)
        await asyncio.to_thread(sys.stdin.read)
        await api.stop(1.0)
        ports.queues, ports.messages = queues, messages
        await ports.close()


@asynccontextmanager
async def server(store: str) -> AsyncIterator[tuple[str, int]]:
    """Address and process id of a running API."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.api", "--serve", store, stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        url = (await process.stdout.readline()).decode().strip()
        if not url:
            raise RuntimeError("the API did not start")
        yield url, process.pid
    finally:
        process.stdin.close()
        await process.wait()


def body(batch: int, numbers: "itertools.count[int]") -> bytes:
    messages = [
        {
            "target": {"device": f"device-{number % DEVICES}"},
            "title": f"Order {number}",
            "body": "Your courier is at the door and waits for you",
            "data": {"order": number, "shop": "noodles", "paid": True},
            "priority": ("urgent", "high", "normal", "low")[number % 4],
        }
        for number in itertools.islice(numbers, batch)
    ]
    return json.dumps(messages[0] if batch == 1 else {"messages": messages}).encode()


async def measure(store: str, batch: int, messages: int, connections: int) -> dict[str, object]:
    numbers = itertools.count()
    path = "/v1/messages" if batch == 1 else "/v1/messages:batch"
    async with server(store) as (url, pid), LeanHttp(url, KEY, connections=connections) as http:

        async def send(total: int) -> None:
            bodies = [body(batch, numbers) for _ in range(total // batch)]
            left = iter(bodies)

            async def caller() -> None:
                for one in left:
                    status, answer = await http.request("POST", path, one)
                    if status != 202 or b'"error"' in answer:
                        raise RuntimeError(f"{status} {answer[:300]!r}")

            await asyncio.gather(*(caller() for _ in range(connections)))

        await send(max(batch, messages // 5))
        meter = CpuMeter({"api": [pid], "client": []})
        meter.start()
        began = perf_counter()
        await send(messages)
        took = perf_counter() - began
        meter.stop()
    return {
        "store": store,
        "batch": batch,
        "messages": messages,
        "connections": connections,
        "cpu_us": meter.us_per(messages)["api"],
        "messages_per_s": round(messages / took),
        "budget_us": BUDGET_US.get(batch),
    }


async def run(
    stores: Sequence[str], batches: Sequence[int], messages: int, connections: int
) -> list[dict[str, object]]:
    return [
        await measure(store, batch, messages if batch > 1 else messages // 5, connections if batch == 1 else 4)
        for store in stores
        for batch in batches
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000, help="messages in batches; a fifth of it one by one")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 100])
    parser.add_argument("--store", nargs="+", choices=["none", "sqlite"], default=["none", "sqlite"])
    parser.add_argument("--connections", type=int, default=32, help="callers at a time for single requests")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", choices=["none", "sqlite"], help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        uvloop.run(serve(given.serve))
        return
    header = print_header(
        "api", METHOD, {"messages": given.messages, "connections": given.connections}, as_json=given.json
    )
    results = uvloop.run(run(given.store, given.batch, given.messages, given.connections))
    for row in results:
        line = f"{row['store']:>7} store, batch {row['batch']:>3}: {row['cpu_us']:>6} µs a message, {row['messages_per_s']:>7} a second"
        print(line, file=sys.stderr if given.json else sys.stdout)
    if given.json:
        print_json({**header.to_dict(), "results": results})


if __name__ == "__main__":
    main()
