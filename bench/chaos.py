"""One fault after the other, under load: is anything lost that was accepted, shown twice, or slow to come back?

    python -m bench.chaos --json
    python -m bench.chaos --only kill_gateway,stop_mariadb --devices 100 --rate 100

`taco cluster` runs with real servers, every program a process of its own. The last line is one JSON object. Exit status 1 when a promise is
broken: something lost or twice on a screen, no recovery within 15 s after the fault's end, or phones that the fault did not concern noticed.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

import uvloop

from bench.chaos_callers import Callers, Log
from bench.chaos_crowd import Crowd
from bench.chaos_faults import BY_NAME, FAULTS, Fault, Target
from bench.chaos_figures import CALM_S, Figures, Window, figures, latencies, recovered_s, timeline
from bench.cluster_process import ClusterProcess, start_cluster
from bench.lean_http import LeanHttp
from bench.machine import print_header, print_json
from bench.tcp_proxy import TcpProxy
from ops.cluster.servers import RedisServer

METHOD = (
    "taco cluster with MariaDB, RabbitMQ and Redis, all on this machine; open loop of pushes of mixed priority with an idempotency key each, "
    "repeated until a 202, which counts once for a key; devices dedup by id and reconnect as the SDK does; latency from the instant a push was "
    "due to be offered until its frame came; recovered: nothing outstanding and p99 under 200 ms for 3 s; ledger from the callers' 202s and "
    "the devices' logs."
)
SIGN_IN_S = 60.0
CALLERS = 128  # connections of the callers


@dataclass(frozen=True, slots=True)
class Load:
    devices: int = 500
    rate: float = 500.0
    batch: int = 1
    before_s: float = 4.0
    """Load before the fault, so that it meets a running system."""
    after_s: float = 45.0
    """The longest that load goes on after the fault's end; it stops when all is well again."""
    settle_s: float = 90.0
    stopped_s: float = 20.0
    """How long a process is stopped, or Redis slow."""


@asynccontextmanager
async def target_for(data: Path, load: Load, *, redis_proxy: bool) -> AsyncIterator[Target]:
    """A cluster of two gateways, two dispatchers, an API and a relay."""
    async with AsyncExitStack() as stack:
        proxy, config = None, None
        if redis_proxy:
            server = RedisServer(data / "servers" / "redis")
            proxy = await stack.enter_async_context(TcpProxy("127.0.0.1", server.port))
            dsn = server.dsn.replace(f":{server.port}/", f":{proxy.port}/")
            config = data.with_name(data.name + ".toml")
            config.touch(0o600)
            config.write_text(
                "[stores]\n" + "".join(f'{name} = "{dsn}"\n' for name in ("presence", "claims", "limits"))
            )
        cluster = await stack.enter_async_context(start_cluster(data, relays=1, config=config))
        yield Target(cluster, proxy, load.stopped_s)


@asynccontextmanager
async def crowd_for(target: Target, load: Load) -> AsyncIterator[Crowd]:
    """Signed in; for all drills on the target, since phones remember what they have shown."""
    cluster = target.cluster
    crowd = Crowd(cluster.gateways, app=cluster.app, device_secret=cluster.device_secret, devices=load.devices)
    try:
        await crowd.start(SIGN_IN_S)
        yield crowd
    finally:
        await crowd.close()


async def drill(fault: Fault, target: Target, crowd: Crowd, load: Load) -> Figures:
    """One fault on a cluster that is well; afterwards it is again, or the figures say that it isn't."""
    cluster = target.cluster
    log = Log()
    crowd.tell(log.note)
    http = LeanHttp(cluster.api, cluster.key, connections=CALLERS)
    callers = Callers(http, log, crowd.names, rate=load.rate, batch=load.batch)
    try:
        callers.start()
        await _quiet(log, load)
        hit = crowd.on(_url(cluster, fault.gateway)) if fault.gateway else set()
        began, ended = await fault.work(target)
        say(fault, f"the fault lasted {ended - began:.1f} s")
        window = await _until_well(log, began, ended, load)
        callers.stop()
        await _settle(log, callers, load.settle_s)
        for line in timeline(log, window):
            say(fault, line)
        return figures(fault.name, log, window, others=set(crowd.names) - hit)
    finally:
        await callers.close()
        await http.close()
        await crowd.spread(SIGN_IN_S)


def _url(cluster: ClusterProcess, gateway: str) -> str:
    return f"ws://127.0.0.1:{cluster.running(gateway)['ports']['ws']}/v1/connect"


async def _quiet(log: Log, load: Load) -> None:
    """Load until it runs well, so that a fault is not blamed for a cold start."""
    began = monotonic()
    await asyncio.sleep(load.before_s)
    while monotonic() - began < SIGN_IN_S:
        now = monotonic()
        past = Window(now - CALM_S - 0.5, now - CALM_S - 0.5, now)
        if recovered_s(latencies((s for s in log.samples if s.due < now - 0.25), log), past) is not None:
            return
        await asyncio.sleep(0.5)


async def _until_well(log: Log, began: float, ended: float, load: Load) -> Window:
    """Wait until the system has recovered, or for as long as the load may go on."""
    while True:
        await asyncio.sleep(0.5)
        now = monotonic()
        window = Window(began, ended, now - 0.3)  # what was due just now may be under way
        if recovered_s(latencies([s for s in log.samples if s.due < window.until], log), window) is not None:
            return window
        if now - ended > load.after_s:
            return window


async def _settle(log: Log, callers: Callers, timeout_s: float) -> None:
    """Until every caller has its answer and everything that was accepted has come."""
    until = monotonic() + timeout_s
    while monotonic() < until:
        if not callers.waiting and all(s.id is None or log.shown[s.id] for s in log.samples):
            break
        await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)  # a copy that is still under way would be a duplicate


def say(fault: Fault, text: str) -> None:
    print(f"# {fault.name}: {text}", file=sys.stderr, flush=True)


async def run(faults: Sequence[Fault], load: Load, folder: Path) -> list[tuple[Fault, Figures]]:
    done: list[tuple[Fault, Figures]] = []
    for redis_proxy in (False, True):
        chosen = [fault for fault in faults if fault.redis_proxy is redis_proxy]
        if not chosen:
            continue
        data = folder / ("slow-redis" if redis_proxy else "cluster")
        async with target_for(data, load, redis_proxy=redis_proxy) as target, crowd_for(target, load) as crowd:
            for fault in chosen:
                say(fault, "begins")
                figures = await drill(fault, target, crowd, load)
                done.append((fault, figures))
                broken = figures.broken(others=fault.spares_others)
                say(fault, json.dumps(figures.to_dict()))
                say(fault, "; ".join(broken) or "kept every promise")
    return done


def main() -> int:
    usual = Load()
    parser = argparse.ArgumentParser(prog="python -m bench.chaos", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help=f"some of the faults, with commas: {', '.join(BY_NAME)}")
    parser.add_argument("--devices", type=int, default=usual.devices)
    parser.add_argument("--rate", type=float, default=usual.rate, help="pushes offered a second")
    parser.add_argument("--batch", type=int, default=usual.batch, help="pushes in one call")
    parser.add_argument("--stopped", type=float, default=usual.stopped_s, help="seconds that a process is stopped")
    parser.add_argument("--data", type=Path, help="keep stores and logs in this folder; a temporary one otherwise")
    parser.add_argument("--json", action="store_true", help="figures only, on the last line; the rest on stderr")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(BY_NAME)
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        parser.error(f"no such fault: {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
    faults = [fault for fault in FAULTS if fault.name in names]
    load = Load(devices=options.devices, rate=options.rate, batch=options.batch, stopped_s=options.stopped)
    settings = {"devices": load.devices, "rate": load.rate, "batch": load.batch, "faults": ",".join(names)}
    made = print_header("chaos", METHOD, settings, as_json=options.json)
    folder = options.data or Path(tempfile.mkdtemp(prefix="taco-chaos-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            done = runner.run(run(faults, load, folder))
    finally:
        if options.data is None:
            shutil.rmtree(folder, ignore_errors=True)
    broken = {fault.name: said for fault, figures in done if (said := figures.broken(others=fault.spares_others))}
    result: dict[str, Any] = {
        "faults": [figures.to_dict() for _, figures in done],
        "broken": broken,
        "settings": settings,
        "reference_us": round(made.reference_us),
    }
    print_json(result)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
