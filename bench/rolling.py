"""A rolling restart of gateways under load: is anything lost, and do the others see phones come faster than they can take?

    python -m bench.rolling --json
    python -m bench.rolling --gateways 3 --sessions 600 --per-second 60 --rate 100

`taco cluster` runs with real servers; each gateway in turn gets SIGTERM, moves its devices and is started again. The devices are the Python
SDK. The last line is one JSON object. Exit status 1 when something is lost or shown twice, or a second saw more reconnects than the set rate.
"""

import argparse
import asyncio
import json
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic
from typing import Any, Protocol

import uvloop

from bench.chaos_callers import Callers, Log
from bench.chaos_figures import latencies
from bench.cluster_process import ClusterProcess, start_cluster
from bench.lag import Lag
from bench.lean_http import LeanHttp
from bench.machine import percentile, print_header, print_json
from bench.sdk_crowd import SdkCrowd, most_in_a_second

METHOD = (
    "taco cluster with MariaDB, RabbitMQ and Redis, all on this machine; devices are the Python SDK, each with the addresses of all gateways; "
    "open loop of pushes with an idempotency key each; one gateway after the other gets SIGTERM and is back before the next one. Reconnects "
    "are counted when a device is welcomed, the most of them in any second wherever it begins; ledger from the callers' 202s and the devices' logs."
)
SIGN_IN_S = 120.0
BETWEEN_S = 1.0  # a gateway is back for so long before the next one goes
CALLERS = 32
LAG_MS = 100.0  # a run in which the client was later than that says nothing of the worst second
MARGIN_S = 6.0  # of the time to stop, for what comes after the devices


@dataclass(frozen=True, slots=True)
class Load:
    gateways: int = 3
    sessions: int = 300
    per_second: int = 50
    """Devices asked to go in any second, at most: [gateway] drain_rate."""
    rate: float = 50.0
    """Pushes offered a second."""
    settle_s: float = 60.0

    @property
    def drain_s(self) -> float:
        """All devices may be on one gateway when its turn comes."""
        return 1.5 * self.sessions / self.per_second + 6.0


@dataclass(frozen=True, slots=True)
class Figures:
    gateways: int
    sessions: int
    restarts: int
    accepted: int
    lost: int
    duplicates: int
    refused: int
    reconnects: int
    reconnects_per_s_max: int
    reconnects_per_s_set: int
    without_gap: int
    """Reconnects that were made before the connection before was let go."""
    offline_s_max: float
    closed_4100: int
    """Connections that the gateway ended because their devices did not go."""
    restart_s_max: float
    p99_ms: float | None
    client_lag_ms_max: float
    """How late the devices' own loop was at worst: welcomes that it saw together need not have been."""

    @property
    def rate_counts(self) -> bool:
        return self.client_lag_ms_max <= LAG_MS

    @property
    def broken(self) -> list[str]:
        said = []
        if self.lost:
            said.append(f"{self.lost} lost")
        if self.duplicates:
            said.append(f"{self.duplicates} twice on a screen")
        if self.reconnects_per_s_max > self.reconnects_per_s_set and self.rate_counts:
            said.append(f"{self.reconnects_per_s_max} reconnects in a second, {self.reconnects_per_s_set} set")
        return said


class Site(Protocol):
    """Gateways that can be restarted one by one, and an API. `gateways` are their addresses, by name."""

    @property
    def api(self) -> str: ...

    @property
    def key(self) -> str: ...

    @property
    def app(self) -> str: ...

    @property
    def device_secret(self) -> str: ...

    @property
    def gateways(self) -> Mapping[str, str]: ...

    async def restart(self, name: str) -> None:
        """SIGTERM, its end, its next life: returns when that serves."""


class ClusterSite:
    """Those of `taco cluster`, which starts again whatever ends."""

    def __init__(self, cluster: ClusterProcess, within_s: float) -> None:
        self._cluster = cluster
        self._within_s = within_s
        self.api, self.key = cluster.api, cluster.key
        self.app, self.device_secret = cluster.app, cluster.device_secret
        self.gateways = dict(zip(cluster.names("gateway"), cluster.gateways, strict=True))

    async def restart(self, name: str) -> None:
        pid = self._cluster.signal(name, signal.SIGTERM)
        await self._cluster.back(name, after=pid, within_s=self._within_s)


async def run(load: Load, folder: Path) -> Figures:
    config = folder / "rolling.toml"
    stop_s = (load.drain_s + MARGIN_S) / 0.75
    config.write_text(
        f"[gateway]\ndrain_rate = {load.per_second}\ndrain_s = {load.drain_s}\n[process]\nstop_s = {stop_s}\n"
    )
    async with start_cluster(folder / "cluster", gateways=load.gateways, dispatchers=1, config=config) as cluster:
        return await roll(ClusterSite(cluster, stop_s + 30.0), load)


async def roll(site: Site, load: Load) -> Figures:
    log, lag = Log(), Lag()
    crowd = SdkCrowd(
        list(site.gateways.values()),
        app=site.app,
        device_secret=site.device_secret,
        devices=load.sessions,
        log=log,
    )
    http = LeanHttp(site.api, site.key, connections=CALLERS)
    callers = Callers(http, log, crowd.names, rate=load.rate, batch=1)
    restarts: list[float] = []
    try:
        await crowd.start(SIGN_IN_S)
        callers.start()
        await asyncio.sleep(BETWEEN_S)
        lag.start()
        began = monotonic()
        for name in site.gateways:
            told = monotonic()
            await site.restart(name)
            restarts.append(monotonic() - told)
            print(f"# {name} is back after {restarts[-1]:.1f} s", file=sys.stderr, flush=True)
            await asyncio.sleep(BETWEEN_S)
        await asyncio.sleep(BETWEEN_S)
        lag.stop()
        callers.stop()
        await _settle(log, callers, load.settle_s)
        return _figures(load, log, crowd, lag, began, restarts)
    finally:
        lag.stop()
        await callers.close()
        await http.close()
        await crowd.close()


async def _settle(log: Log, callers: Callers, timeout_s: float) -> None:
    """Until every caller has its answer and everything that was accepted has come."""
    until = monotonic() + timeout_s
    while monotonic() < until:
        if not callers.waiting and all(sample.id is None or log.shown[sample.id] for sample in log.samples):
            break
        await asyncio.sleep(0.2)
    await asyncio.sleep(1.0)  # a copy that is still under way would be a duplicate


def _figures(load: Load, log: Log, crowd: SdkCrowd, lag: Lag, began: float, restarts: list[float]) -> Figures:
    accepted = [sample for sample in log.samples if sample.id is not None]
    reconnects = crowd.reconnects(began)
    gone = [code for phone in crowd.phones for code in phone.codes]
    late = percentile((late for _, late in latencies(accepted, log)), 99)
    return Figures(
        gateways=load.gateways,
        sessions=load.sessions,
        restarts=len(restarts),
        accepted=len({sample.id for sample in accepted}),
        lost=sum(not log.shown[sample.id] for sample in accepted if sample.id is not None),
        duplicates=sum(times - 1 for times in log.shown.values()),
        refused=sum(log.refused.values()),
        reconnects=len(reconnects),
        reconnects_per_s_max=most_in_a_second(reconnects),
        reconnects_per_s_set=load.per_second,
        without_gap=len(reconnects) - len(gone),
        offline_s_max=round(max(phone.longest_s for phone in crowd.phones), 2),
        closed_4100=gone.count(4100),
        restart_s_max=round(max(restarts), 1),
        p99_ms=None if late is None or late == float("inf") else round(late * 1_000, 1),
        client_lag_ms_max=round(max(lag.late_s, default=0.0) * 1_000, 1),
    )


def main() -> int:
    usual = Load()
    parser = argparse.ArgumentParser(prog="python -m bench.rolling", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--gateways", type=int, default=usual.gateways)
    parser.add_argument("--sessions", type=int, default=usual.sessions)
    parser.add_argument("--per-second", type=int, default=usual.per_second, help="devices asked to go in any second")
    parser.add_argument("--rate", type=float, default=usual.rate, help="pushes offered a second")
    parser.add_argument("--data", type=Path, help="keep stores and logs in this folder; a temporary one otherwise")
    parser.add_argument("--json", action="store_true", help="figures only, on the last line; the rest on stderr")
    options = parser.parse_args()
    load = Load(options.gateways, options.sessions, options.per_second, options.rate)
    made = print_header("rolling", METHOD, asdict(load), as_json=options.json)
    folder = options.data or Path(tempfile.mkdtemp(prefix="taco-rolling-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            figures = runner.run(run(load, folder))
    finally:
        if options.data is None:
            shutil.rmtree(folder, ignore_errors=True)
    broken = figures.broken
    result: dict[str, Any] = {
        **asdict(figures),
        "rate_counts": figures.rate_counts,
        "broken": broken,
        "reference_us": round(made.reference_us),
    }
    if not options.json:
        print(json.dumps(result, indent=1))
    print_json(result)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
