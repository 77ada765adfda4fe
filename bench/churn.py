"""Does anything stay behind when phones come and go? Connect, push, drop, for minutes; then what each program still holds.

    python -m bench.churn --minutes 10 --json

`taco cluster` on real servers. Devices sign in, live for a moment, and end in one of three ways: a close frame, a lost network, silence. Of each program the
resident memory, open files and asyncio tasks are read from its metrics before, each half minute during, and a minute after, when every device is gone.
Exit status 1 if files or tasks are left, memory grew on through the second half, or something accepted did not end.
"""

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any

import uvloop

from bench.cluster_process import ClusterProcess, start_cluster
from bench.lean_http import HttpFailed, LeanHttp
from bench.machine import print_header, print_json
from ops.tokens import mint
from push_core.clock import wall_ms
from sdk_proto.python.session import Limits
from sdk_proto.python.wire_client import Device, Fleet, SignInRefused

METHOD = (
    "devices come and go without a pause while pushes are offered to all of them, connected or not; memory, files and tasks as each program tells "
    "them at its admin port; afterwards: a minute later, all devices gone"
)
READ = {"process_rss_bytes": "rss_mib", "process_files": "files", "process_tasks": "tasks"}
EVERY_S = 30.0
REST_S = 60.0
LIFE_S = (0.2, 3.0)
TRAIL = 1_000
"""Events that a program keeps: at the default it would take half an hour to fill its ring, which looks like a leak."""
SPARE = 12
"""Files and tasks that may be more than before: connections to stores that were opened when they were needed."""
MIB_A_MINUTE = 0.5
"""Growth in the second half that is more than an allocator's noise."""

Held = dict[str, dict[str, float]]


def held_by(cluster: ClusterProcess) -> Held:
    """By program: what it holds now."""
    return {
        entry["name"]: _read(entry["ports"]["admin"])
        for entry in cluster.state()["processes"]
        if entry["ports"].get("admin")
    }


def _read(port: int) -> dict[str, float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return parsed(answer.read().decode())


def parsed(exposition: str) -> dict[str, float]:
    """
    >>> parsed("# TYPE process_files gauge\\nprocess_files 12\\nother 1\\n")
    {'files': 12.0}
    """
    found = {}
    for line in exposition.splitlines():
        name, _, value = line.partition(" ")
        short = READ.get(name.partition("{")[0].removeprefix("taco_"))
        if short is not None:
            found[short] = float(value) / (2**20 if short == "rss_mib" else 1)
    return found


class Churn:
    def __init__(self, cluster: ClusterProcess, devices: int) -> None:
        self._gateways = cluster.gateways
        self._fleet = Fleet(self._gateways[0], limits=Limits(connect_s=5.0, welcome_s=5.0))
        self._http = LeanHttp(cluster.api, cluster.key, connections=16)
        now_s = wall_ms() // 1_000
        names = [f"churn-{number}" for number in range(devices)]
        self._devices = [
            self._fleet.device(cluster.app, name, mint(cluster.app, name, cluster.device_secret, now_s=now_s))
            for name in names
        ]
        self.lives = self.pushed = self.failed = 0

    async def run(self, seconds: float, rate: float) -> None:
        until = monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for device in self._devices:
                group.create_task(self._live(device, until))
            group.create_task(self._push(until, rate))

    async def close(self) -> None:
        await self._fleet.close()
        await self._http.close()

    @property
    def shown(self) -> int:
        return self._fleet.counters.shown

    async def _live(self, device: Device, until: float) -> None:
        chance = random.Random(device.name)
        while monotonic() < until:
            with suppress(SignInRefused, OSError, TimeoutError):
                await device.connect(at=chance.choice(self._gateways))
                self.lives += 1
                await asyncio.sleep(chance.uniform(*LIFE_S))
            if chance.random() < 0.5:
                device.close()
            else:
                device.abort()
            await asyncio.sleep(chance.uniform(0.0, 0.5))

    async def _push(self, until: float, rate: float) -> None:
        body = b'{"target":{"device":"%b"},"title":"churn","body":"x","ttl":30,"priority":"%b"}'
        names = [device.name.encode() for device in self._devices]
        calls: set[asyncio.Task[None]] = set()
        began, number = monotonic(), 0
        while monotonic() < until:
            number += 1
            message = body % (random.choice(names), random.choice((b"urgent", b"normal", b"low")))
            call = asyncio.get_running_loop().create_task(self._call(message))
            calls.add(call)
            call.add_done_callback(calls.discard)
            await asyncio.sleep(max(0.0, began + number / rate - monotonic()))
        if calls:
            await asyncio.wait(calls)

    async def _call(self, body: bytes) -> None:
        try:
            status, _ = await self._http.request("POST", "/v1/messages", body)
        except HttpFailed:
            status = 0
        self.pushed += status == 202
        self.failed += status != 202


async def run(options: argparse.Namespace, data: Path) -> dict[str, Any]:
    seconds = options.minutes * 60
    config = data.with_name("churn.toml")
    # Devices drop here as no sane one does, and are not to rest for it.
    config.write_text(f'[stores]\ntrail = "memory://?size={TRAIL}"\n[gateway]\nflapping_drops = 0\n')
    async with start_cluster(data, gateways=2, dispatchers=2, config=config) as cluster:
        churn = Churn(cluster, options.devices)
        await churn.run(min(20.0, seconds), options.rate)  # what is opened once is opened by now
        await asyncio.sleep(5.0)
        before = await asyncio.to_thread(held_by, cluster)
        samples: list[tuple[float, Held]] = []
        began = monotonic()

        async def sample() -> None:
            while monotonic() - began < seconds:
                await asyncio.sleep(EVERY_S)
                held = await asyncio.to_thread(held_by, cluster)
                samples.append((monotonic() - began, held))
                print(f"# {samples[-1][0]:.0f} s: {held}", file=sys.stderr, flush=True)

        sampling = asyncio.create_task(sample())
        await churn.run(seconds, options.rate)
        sampling.cancel()
        await churn.close()
        await asyncio.sleep(REST_S)
        after = await asyncio.to_thread(held_by, cluster)
        return figures(before, samples, after) | {
            "connections": churn.lives,
            "pushed": churn.pushed,
            "refused": churn.failed,
            "shown": churn.shown,
        }


def figures(before: Held, samples: list[tuple[float, Held]], after: Held) -> dict[str, Any]:
    """By program what it held before and after, and how fast its memory grew in the second half; and what should not be so."""
    programs: dict[str, dict[str, Any]] = {}
    left = []
    for name in before:
        if name not in after:
            left.append(f"{name} is gone")
            continue
        grows = growth([(at, held[name]["rss_mib"]) for at, held in samples if name in held])
        programs[name] = {"before": before[name], "after": after[name], "mib_a_minute": grows}
        for what in ("files", "tasks"):
            more = after[name].get(what, 0.0) - before[name].get(what, 0.0)
            if more > SPARE:
                left.append(f"{name} has {more:.0f} {what} more than before")
        if grows is not None and grows > MIB_A_MINUTE:
            left.append(f"{name} grew by {grows} MiB a minute to the end")
    return {"programs": programs, "left": left}


def growth(samples: list[tuple[float, float]]) -> float | None:
    """MiB a minute by least squares over the second half; None of too few.

    >>> growth([(0, 10), (30, 50), (60, 50), (90, 51), (120, 52)])
    2.0
    """
    half = [(at / 60, mib) for at, mib in samples[len(samples) // 2 :]]
    if len(half) < 3:
        return None
    middle_at = sum(at for at, _ in half) / len(half)
    middle = sum(mib for _, mib in half) / len(half)
    spread = sum((at - middle_at) ** 2 for at, _ in half)
    return round(sum((at - middle_at) * (mib - middle) for at, mib in half) / spread, 2)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.churn", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--devices", type=int, default=300)
    parser.add_argument("--rate", type=float, default=100.0, help="pushes a second")
    parser.add_argument("--data", type=Path, help="keep stores and logs in this folder; a temporary one otherwise")
    parser.add_argument("--json", action="store_true", help="figures only, on the last line; the rest on stderr")
    options = parser.parse_args()
    settings: Mapping[str, Any] = {name: getattr(options, name) for name in ("minutes", "devices", "rate")}
    made = print_header("churn", METHOD, settings, as_json=options.json)
    folder = options.data or Path(tempfile.mkdtemp(prefix="taco-churn-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(run(options, folder / "data"))
    finally:
        if options.data is None:
            shutil.rmtree(folder, ignore_errors=True)
    print_json(found | {"settings": settings, "reference_us": round(made.reference_us)})
    return 1 if found["left"] else 0


if __name__ == "__main__":
    sys.exit(main())
