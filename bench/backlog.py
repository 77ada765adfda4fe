"""How dispatchers share work, and what a backlog of low priority costs urgent pushes.

    python -m bench.backlog --json

Two dispatchers under a steady load; a third is started meanwhile, by hand, and should take its part without anybody's restart. Then all stand still while
100,000 low pushes are accepted; when they go on, urgent ones are offered at the same time: they should not notice, and the low ones should move
nevertheless. The last line is one JSON object. Exit status 1 if urgent pushes took longer than 200 ms (p99), low ones stood still, or anything was lost or
came twice on a screen.
"""

import argparse
import asyncio
import json
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import uvloop

from bench.cluster_process import ClusterProcess, start_cluster
from bench.load import Load
from bench.machine import CpuMeter, percentile, print_header, print_json
from bench.taco_process import command

METHOD = (
    "shares: CPU of each dispatcher under the same open loop, before and after a third one was started; backlog: dispatchers stopped, so many low "
    "pushes accepted, dispatchers resumed, urgent pushes in an open loop until the last low one came; latency from when a push was due"
)
QUICK_MS = 200.0
DRAIN_S = 180.0


async def run(options: argparse.Namespace, data: Path) -> dict[str, Any]:
    async with start_cluster(data, gateways=1, dispatchers=2) as cluster:
        loads = {"low": _load(cluster, "low", options.devices), "urgent": _load(cluster, "urgent", options.devices)}
        try:
            for load in loads.values():
                await load.sign_in()
            found = {"shares": await _shares(cluster, loads["low"], options)}
            return found | await _backlog(cluster, loads["low"], loads["urgent"], options)
        finally:
            for load in loads.values():
                await load.close()


def _load(cluster: ClusterProcess, priority: str, devices: int) -> Load:
    return Load(
        apis=cluster.apis,
        key=cluster.key,
        gateways=cluster.gateways,
        app=cluster.app,
        device_secret=cluster.device_secret,
        devices=devices,
        connections=64,
        prefix=priority,
        priorities=(priority,),
    )


# ── sharing ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _shares(cluster: ClusterProcess, load: Load, options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Of the dispatchers' CPU, each one's part: with two, and with a third."""
    pids = {name: cluster.pid_of(name) for name in cluster.names("dispatcher")}
    two = await _share(load, options, pids)
    async with _third(cluster) as third:
        three = await _share(load, options, {**pids, "dispatcher-3": third.pid})
    return {"two": two, "three": three}


async def _share(load: Load, options: argparse.Namespace, pids: dict[str, int]) -> dict[str, float]:
    meter = CpuMeter({name: [pid] for name, pid in pids.items()})
    await load.start_over()
    meter.start()
    await load.offer(rate=options.rate, seconds=options.seconds, batch=options.batch)
    meter.stop()
    await load.settle(DRAIN_S)
    total = sum(meter.spent_s.values())
    return {name: round(spent / total, 3) for name, spent in meter.spent_s.items()}


@asynccontextmanager
async def _third(cluster: ClusterProcess) -> AsyncIterator[Process]:
    """Another dispatcher of the same cluster; yielded when it serves."""
    folder = cluster.data / "programs" / "dispatcher-3"
    folder.mkdir(parents=True, exist_ok=True)
    with (cluster.data / "log" / "dispatcher-3.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(
            *command("dispatcher", "--config", str(cluster.data / "cluster.toml"), "--data", str(folder)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=PIPE,
            stderr=log,
            env={**os.environ, "TACO_DISPATCHER_NAME": "dispatcher-3", "TACO_ADMIN_PORT": "0"},
        )
    assert process.stdout is not None
    try:
        json.loads(await process.stdout.readline())  # it says so when it serves
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


# ── backlog ──────────────────────────────────────────────────────────────────────────────────────────────────────────


async def _backlog(cluster: ClusterProcess, low: Load, urgent: Load, options: argparse.Namespace) -> dict[str, Any]:
    dispatchers = cluster.names("dispatcher")
    await low.start_over()
    await urgent.start_over()
    for name in dispatchers:
        cluster.pause(name)
    try:
        await low.offer(rate=options.fill_rate, seconds=options.backlog / options.fill_rate, batch=100)
        await _accepted(low)
        came_before = len(low.log.received)
    finally:
        for name in dispatchers:
            cluster.resume(name)
    resumed = monotonic()
    offering = asyncio.create_task(urgent.offer(rate=options.urgent_rate, seconds=DRAIN_S, batch=1))
    while len(low.log.received) < len(low.log.due) and monotonic() - resumed < DRAIN_S:
        await asyncio.sleep(0.05)
    drained = monotonic()
    offering.cancel()
    await asyncio.gather(offering, return_exceptions=True)
    await urgent.settle(DRAIN_S)
    await low.settle(1.0)
    return figures(low, urgent, came_before, resumed, drained)


async def _accepted(load: Load) -> None:
    """Every caller has its answer."""
    async with asyncio.timeout(DRAIN_S):
        while load.answers_awaited:
            await asyncio.sleep(0.05)


def figures(low: Load, urgent: Load, came_before: int, resumed: float, drained: float) -> dict[str, Any]:
    late = [urgent.log.received[each] - due for each, due in urgent.log.due.items() if each in urgent.log.received]
    seconds = max(drained - resumed, 0.001)
    logs = (low.log, urgent.log)
    return {
        "backlog": len(low.log.due) - came_before,
        "drained_s": round(seconds, 1),
        "low_per_s": round((len(low.log.received) - came_before) / seconds),
        "urgent": len(urgent.log.due),
        "urgent_p50_ms": _ms(percentile(late, 50)),
        "urgent_p99_ms": _ms(percentile(late, 99)),
        "lost": sum(each not in log.received for log in logs for each in log.due),
        "refused": dict(low.log.refused + urgent.log.refused),
        "wire_duplicates": sum(times - 1 for log in logs for times in log.frames.values()),
        "screen_duplicates": sum(times - 1 for log in logs for times in log.shown.values()),
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1_000, 1)


def failed(found: dict[str, Any]) -> bool:
    return bool(
        found["lost"]
        or found["screen_duplicates"]
        or found["urgent_p99_ms"] is None
        or found["urgent_p99_ms"] >= QUICK_MS
        or not found["low_per_s"]
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.backlog", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backlog", type=int, default=100_000, help="low pushes that wait")
    parser.add_argument("--fill-rate", type=float, default=4_000.0, help="at which they are offered")
    parser.add_argument("--urgent-rate", type=float, default=200.0)
    parser.add_argument("--devices", type=int, default=1_000, help="for each of the two priorities")
    parser.add_argument("--rate", type=float, default=1_000.0, help="of the load that is shared")
    parser.add_argument("--seconds", type=float, default=10.0, help="that it lasts, with two and with three")
    parser.add_argument("--batch", type=int, default=10, help="of its callers")
    parser.add_argument("--data", type=Path, help="keep stores and logs in this folder; a temporary one otherwise")
    parser.add_argument("--json", action="store_true", help="figures only, on the last line; the rest on stderr")
    options = parser.parse_args(arguments)
    settings = {name: getattr(options, name) for name in ("backlog", "fill_rate", "urgent_rate", "devices", "rate")}
    made = print_header("backlog", METHOD, settings, as_json=options.json)
    folder = options.data or Path(tempfile.mkdtemp(prefix="taco-backlog-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(run(options, folder / "data"))
    finally:
        if options.data is None:
            shutil.rmtree(folder, ignore_errors=True)
    print_json(found | {"settings": settings, "reference_us": round(made.reference_us)})
    return 1 if failed(found) else 0


if __name__ == "__main__":
    sys.exit(main())
