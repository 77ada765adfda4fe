"""Bad networks between phones and gateway: is anything lost that was accepted, shown twice, or without an end?

    python -m bench.networks --json
    python -m bench.networks --only cut_mid_frame,flap --devices 200 --rate 400

`taco up` on embedded stores is a process of its own; its devices reach it through a TCP proxy that does to their bytes what each network of the
list does. Callers push all the while, with an idempotency key each. The last line is one JSON object. Exit status 1 when a promise is broken.
"""

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import uvloop

from bench.chaos_callers import Callers, Log
from bench.chaos_crowd import Crowd
from bench.lean_http import LeanHttp
from bench.machine import print_header, print_json
from bench.stored import states_of
from bench.taco_process import TacoProcess, start_taco
from bench.tcp_proxy import TcpProxy

METHOD = (
    "taco up on embedded stores; devices through a TCP proxy of our own in this process, callers beside it; each network for so many seconds under an "
    "open loop of pushes, then the proxy is well again and everything has to come: ledger from the callers' 202s and the devices' own logs, "
    "final states over the API."
)
SIGN_IN_S = 60.0
ENDED = frozenset({"delivered", "displayed", "clicked"})


@dataclass(frozen=True, slots=True)
class Load:
    devices: int = 200
    rate: float = 300.0
    batch: int = 5
    seconds: float = 10.0
    settle_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Network:
    """`work(proxy, seconds)` makes it so for that long; the proxy is healed by whoever called."""

    name: str
    text: str
    work: Callable[[TcpProxy, float], Awaitable[None]]


@dataclass(slots=True)
class Outcome:
    network: str
    offered: int
    accepted: int
    lost: int
    wire_duplicates: int
    screen_duplicates: int
    astray: int
    refused: int
    without_end: int
    sign_ins: int
    settled_s: float
    states: dict[str, int] = field(default_factory=dict)

    @property
    def broken(self) -> list[str]:
        checks = {
            "lost": self.lost,
            "twice on a screen": self.screen_duplicates,
            "on another device's screen": self.astray,
            "refused": self.refused,
            "without an end": self.without_end,
        }
        return [f"{count} {what}" for what, count in checks.items() if count] + ["nothing accepted"] * (
            not self.accepted
        )


def _set(**values: float) -> Callable[[TcpProxy, float], Awaitable[None]]:
    async def work(proxy: TcpProxy, seconds: float) -> None:
        for name, value in values.items():
            setattr(proxy, name, value)
        await asyncio.sleep(seconds)

    return work


def _stalled(*, asks: bool, answers: bool) -> Callable[[TcpProxy, float], Awaitable[None]]:
    async def work(proxy: TcpProxy, seconds: float) -> None:
        """Silence and flow in turns, so that pushes are under way when it begins."""
        for _ in range(3):
            await asyncio.sleep(seconds / 12)
            proxy.stall(asks=asks, answers=answers)
            await asyncio.sleep(seconds / 4)
            proxy.flow()

    return work


async def _reset(proxy: TcpProxy, seconds: float) -> None:
    for _ in range(4):
        await asyncio.sleep(seconds / 4)
        proxy.cut()


async def _cut_mid_frame(proxy: TcpProxy, seconds: float) -> None:
    """Small enough that the upgrade and the welcome pass more often than not, and no connection lives long."""
    proxy.cut_after = 3_000
    await asyncio.sleep(seconds)


async def _flap(proxy: TcpProxy, seconds: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await proxy.flap(up_s=seconds / 8, down_s=seconds / 16)


async def _stalled_then_reset(proxy: TcpProxy, seconds: float) -> None:
    """A tunnel: acks are under way when the connection breaks, and are never heard."""
    for _ in range(3):
        await asyncio.sleep(seconds / 6)
        proxy.stall(answers=False)
        await asyncio.sleep(seconds / 6)
        proxy.cut()
        proxy.flow()


NETWORKS = (
    Network("delay", "150 ms each way", _set(ask_delay_s=0.15, answer_delay_s=0.15)),
    Network(
        "jitter", "20 ms and up to 200 ms more, each way", _set(ask_delay_s=0.02, answer_delay_s=0.02, jitter_s=0.2)
    ),
    Network("throttle", "4 KiB/s each way and connection", _set(bytes_per_s=4_096.0)),
    Network("stall", "nothing passes, three times", _stalled(asks=True, answers=True)),
    Network("stall_asks", "acks and pings don't pass, pushes do", _stalled(asks=True, answers=False)),
    Network("stall_answers", "pushes don't pass, acks do", _stalled(asks=False, answers=True)),
    Network("reset", "all connections reset, four times", _reset),
    Network("tunnel", "acks are stuck, then all connections reset, three times", _stalled_then_reset),
    Network("cut_mid_frame", "each connection reset within 3,000 bytes of pushes", _cut_mid_frame),
    Network("flap", "all connections reset and none taken for a while, again and again", _flap),
)
BY_NAME = {network.name: network for network in NETWORKS}


async def drill(network: Network, proxy: TcpProxy, crowd: Crowd, taco: TacoProcess, load: Load) -> Outcome:
    log = Log()
    crowd.tell(log.note)
    http = LeanHttp(taco.api, taco.key, connections=32)
    callers = Callers(http, log, crowd.names, rate=load.rate, batch=load.batch)
    sign_ins = crowd.sign_ins
    try:
        callers.start()
        await network.work(proxy, load.seconds)
        proxy.heal()
        healed = monotonic()
        callers.stop()
        states = await _settled(log, callers, http, load)
        settled_s = monotonic() - healed
    finally:
        proxy.heal()
        await callers.close()
        await http.close()
    claimed = {sample.id for sample in log.samples if sample.id is not None}
    return Outcome(
        network=network.name,
        offered=len(log.samples),
        accepted=len(claimed),
        lost=sum(not log.shown[each] for each in claimed),
        wire_duplicates=sum(times - 1 for times in log.frames.values()),
        screen_duplicates=sum(times - 1 for times in log.shown.values()) + len(set(log.shown) - claimed),
        astray=log.astray,
        refused=sum(log.refused.values()),
        without_end=sum(state not in ENDED for state in states.values()),
        sign_ins=crowd.sign_ins - sign_ins,
        settled_s=round(settled_s, 1),
        states=dict(Counter(str(state) for state in states.values())),
    )


async def _settled(log: Log, callers: Callers, http: LeanHttp, load: Load) -> dict[int, str | None]:
    """The state of every accepted message, once all have ended or the time is over."""
    until = monotonic() + load.settle_s
    while monotonic() < until:
        if not callers.waiting and all(sample.id is None or log.shown[sample.id] for sample in log.samples):
            break
        await asyncio.sleep(0.1)
    states: dict[int, str | None] = {}
    open_now = [sample.id for sample in log.samples if sample.id is not None]
    while open_now:
        states |= await states_of(http, open_now)
        open_now = [each for each in open_now if states[each] not in ENDED]
        if monotonic() >= until:
            break
        if open_now:
            await asyncio.sleep(0.1)
    return states


async def run(networks: Sequence[Network], load: Load, folder: Path) -> list[Outcome]:
    taco = await start_taco(folder / "data")
    outcomes = []
    try:
        port = int(taco.gateway.rpartition(":")[2].partition("/")[0])
        async with TcpProxy("127.0.0.1", port) as proxy:
            url = taco.gateway.replace(f":{port}/", f":{proxy.port}/")
            crowd = Crowd([url], app=taco.app, device_secret=taco.device_secret, devices=load.devices)
            try:
                await crowd.start(SIGN_IN_S)
                for network in networks:
                    say(network, network.text)
                    outcome = await drill(network, proxy, crowd, taco, load)
                    outcomes.append(outcome)
                    say(network, json.dumps(asdict(outcome)))
                    say(network, "; ".join(outcome.broken) or "kept every promise")
                    await crowd.spread(SIGN_IN_S)
            finally:
                await crowd.close()
    finally:
        await taco.stop()
    return outcomes


def say(network: Network, text: str) -> None:
    print(f"# {network.name}: {text}", file=sys.stderr, flush=True)


def main() -> int:
    usual = Load()
    parser = argparse.ArgumentParser(prog="python -m bench.networks", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help=f"some of the networks, with commas: {', '.join(BY_NAME)}")
    parser.add_argument("--devices", type=int, default=usual.devices)
    parser.add_argument("--rate", type=float, default=usual.rate, help="pushes offered a second")
    parser.add_argument("--seconds", type=float, default=usual.seconds, help="how long each network lasts")
    parser.add_argument("--json", action="store_true", help="figures only, on the last line; the rest on stderr")
    options = parser.parse_args()
    names = options.only.split(",") if options.only else list(BY_NAME)
    unknown = [name for name in names if name not in BY_NAME]
    if unknown:
        parser.error(f"no such network: {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
    load = Load(devices=options.devices, rate=options.rate, seconds=options.seconds)
    settings = {**asdict(load), "networks": ",".join(names)}
    made = print_header("networks", METHOD, settings, as_json=options.json)
    folder = Path(tempfile.mkdtemp(prefix="taco-networks-"))
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcomes = runner.run(run([BY_NAME[name] for name in names], load, folder))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    broken = {outcome.network: outcome.broken for outcome in outcomes if outcome.broken}
    result: dict[str, Any] = {
        "networks": [asdict(outcome) for outcome in outcomes],
        "lost": sum(outcome.lost for outcome in outcomes),
        "duplicates": sum(outcome.screen_duplicates for outcome in outcomes),
        "without_end": sum(outcome.without_end for outcome in outcomes),
        "broken": broken,
        "settings": settings,
        "reference_us": round(made.reference_us),
    }
    print_json(result)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
