"""End to end on one machine: pushes offered over HTTP, delivered over WebSocket, acknowledged, and found so in the store.

    python -m bench.e2e --backends embedded --devices 1000 --rate 2000 --seconds 15 --batch 50 --json
    python -m bench.e2e --backends real --devices 5000 --rate 12000 --seconds 30 --batch 100 --json

`taco up` (embedded) or `taco cluster` (real: MariaDB, RabbitMQ, Redis, each program a process of its own) runs on fresh stores with durable
settings; this process is the load's client. The last line is one JSON object.
Exit status 1 if something was lost, came twice or is left over, or if the run is void because the client itself was late.
"""

import argparse
import asyncio
import gc
import os
import shutil
import sys
import tempfile
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from time import monotonic
from typing import Any

import uvloop

from bench.backends import Running, embedded, real
from bench.compiled_load import CompiledLoad
from bench.load import Load, Log
from bench.machine import CpuMeter, fdatasync_us, percentile, print_header, print_json
from bench.stored import DELIVERED, StoredWatch

METHOD = (
    "open loop; latency from the instant a push's batch was due to be sent until its frame was received by the device (p50, p99), and until the API said "
    "that its ack is stored (stored_p99: a sample, asked for every 20 ms); acked_per_s: acks sent within the offering window that the store had in the end; "
    "ledger from the callers' 202s, the devices' logs and the final states (of the API; with real backends, of the tables); durable stores, as printed; "
    "CPU of whole processes per push by program and server, the client (devices and callers; compiled, and the process that asks it) apart."
)
VOID_LAG_MS = 20.0
SETTLE_S = 60.0
ACKS_S = 15.0


async def run(options: argparse.Namespace, data: Path) -> dict[str, Any]:
    async with backends(options, data) as running:
        return await measure(options, running) | {"durable": running.durable}


def backends(options: argparse.Namespace, data: Path) -> AbstractAsyncContextManager[Running]:
    if options.backends == "embedded":
        return embedded(data, *options.up)
    return real(
        data,
        gateways=options.gateways,
        dispatchers=options.dispatchers,
        apis=options.apis,
        relays=options.relays,
        config=options.config,
    )


async def measure(options: argparse.Namespace, running: Running) -> dict[str, Any]:
    """Warm up, offer, settle, and what came of it."""
    made = CompiledLoad if options.client == "compiled" else Load
    load: Load | CompiledLoad = made(
        apis=running.apis,
        key=running.key,
        gateways=running.gateways,
        app=running.app,
        device_secret=running.device_secret,
        devices=options.devices,
        connections=options.connections,
    )
    async with load:
        await load.sign_in()
        if options.warm_up:
            await load.offer(rate=options.rate / 2, seconds=options.warm_up, batch=options.batch, seed=0)
            await load.settle(SETTLE_S)
            await load.start_over()
        try:
            return await _measured(options, running, load)
        finally:
            gc.enable()
            gc.unfreeze()


async def _measured(options: argparse.Namespace, running: Running, load: Load | CompiledLoad) -> dict[str, Any]:
    # What lives now lives to the end: a walk of the collector in the middle would look like a late server.
    gc.collect()
    gc.freeze()
    gc.disable()
    meter = CpuMeter({**running.groups, "client": [os.getpid(), *load.pids]})
    stored = StoredWatch(load.http, load.newest, per_s=options.sample)
    meter.start()
    stored.start()
    begin, end = await load.offer(rate=options.rate, seconds=options.seconds, batch=options.batch)
    await load.settle(SETTLE_S)
    meter.stop()
    await stored.finish()
    states = await _final_states(running, load)
    log, memory = await load.book(), running.resident_mib()
    return result(log, stored, load.lag_p99_ms, meter, states, begin=begin, end=end) | {
        "client": options.client,
        "total_us": round(sum(meter.us_per(len(log.due)).values()), 1),
        "server_mib": sum(memory.values()),
        "mib": memory,
    }


async def _final_states(running: Running, load: Load | CompiledLoad) -> dict[int, str | None]:
    """Acks are on their way for a moment after the last frame: what is not delivered yet is looked at again for a while."""
    log = await load.book()
    states = await running.states(load.http, list(log.due))
    until = monotonic() + ACKS_S
    while monotonic() < until:
        left = [each for each in log.received if each in log.due and states.get(each) not in DELIVERED]
        if not left:
            break
        await asyncio.sleep(0.2)
        states |= await running.states(load.http, left)
    return states


def result(
    log: Log,
    stored: StoredWatch,
    lag_ms: float | None,
    meter: CpuMeter,
    states: dict[int, str | None],
    *,
    begin: float,
    end: float,
) -> dict[str, Any]:
    """The figures, from what callers and devices noted. `lag_ms`: the p99 of the client's own lag."""
    latency = [log.received[message_id] - due for message_id, due in log.due.items() if message_id in log.received]
    until_stored = [at - log.due[message_id] for message_id, at in stored.stored.items() if message_id in log.due]
    settled = {
        message_id for message_id in log.due if message_id in log.received and states.get(message_id) in DELIVERED
    }
    in_window = sum(log.received[message_id] <= end for message_id in settled)
    return {
        "offered_per_s": round(log.offered / (end - begin), 1),
        "acked_per_s": round(in_window / (end - begin), 1),
        "p50_ms": _ms(percentile(latency, 50)),
        "p99_ms": _ms(percentile(latency, 99)),
        "max_ms": _ms(max(latency, default=None)),
        "stored_p99_ms": _ms(percentile(until_stored, 99)),
        "stored_samples": len(until_stored),
        "offered": log.offered,
        "accepted": len(log.due),
        "refused": dict(log.refused),
        "unanswered": log.unanswered,
        "lost": sum(message_id not in log.received for message_id in log.due),
        "astray": log.astray,
        "wire_duplicates": sum(times - 1 for times in log.frames.values()),
        "screen_duplicates": sum(times - 1 for times in log.shown.values()),
        "remainder": len(log.due) - len(settled),
        "client_lag_p99_ms": None if lag_ms is None else round(lag_ms, 2),
        "void": lag_ms is None or lag_ms > VOID_LAG_MS,
        "cpu_us": meter.us_per(len(log.due)),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1_000, 2)


def failed(figures: dict[str, Any]) -> bool:
    """Whether the run breaks a promise or says nothing; speed is for the reader to judge."""
    return bool(
        figures["void"]
        or any(figures[name] for name in ("lost", "astray", "wire_duplicates", "screen_duplicates", "remainder"))
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.e2e", description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--backends", choices=["embedded", "real"], default="embedded", help="what stands behind the ports"
    )
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--rate", type=float, default=2_000.0, help="pushes offered a second")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--batch", type=int, default=50, help="pushes in one request")
    parser.add_argument("--warm-up", type=float, default=2.0, help="seconds at half the rate before it counts")
    parser.add_argument(
        "--sample", type=float, default=10.0, help="messages a second that are watched until their ack is stored"
    )
    parser.add_argument("--connections", type=int, default=16, help="callers' connections to each API")
    parser.add_argument(
        "--client", choices=["compiled", "python"], default="compiled", help="the load's: in C (needs cc) or in Python"
    )
    parser.add_argument("--gateways", type=int, default=1, help="with real backends; so the next three")
    parser.add_argument("--dispatchers", type=int, default=1)
    parser.add_argument("--apis", type=int, default=1)
    parser.add_argument("--relays", type=int, default=0, help="dispatchers that are relays only")
    parser.add_argument("--config", type=Path, help="settings over the cluster's own, as `taco cluster --config`")
    parser.add_argument("--data", type=Path, help="keep the stores in this folder; a temporary one otherwise")
    parser.add_argument("--json", action="store_true", help="figures only, on the last line; the rest on stderr")
    parser.add_argument("up", nargs="*", help="further options of `taco up`, behind --")
    options = parser.parse_args()
    settings = {name: getattr(options, name) for name in ("backends", "devices", "rate", "seconds", "batch")}
    made = print_header("e2e", METHOD, settings, as_json=options.json)
    folder = options.data or Path(tempfile.mkdtemp(prefix="taco-bench-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        disk_us = fdatasync_us(folder)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures = runner.run(run(options, folder / "data"))
    finally:
        if options.data is None:
            shutil.rmtree(folder, ignore_errors=True)
    figures |= {"settings": settings, "reference_us": round(made.reference_us), "fdatasync_us": disk_us}
    if not options.json:
        for name, value in figures.items():
            print(f"{name:>18}  {value}")
    print_json(figures)
    return 1 if failed(figures) else 0


if __name__ == "__main__":
    sys.exit(main())
