"""What one gateway costs: CPU per sign-in, per push with its ack and per fan-out delivery, memory per idle session, and the latency that it adds.

    python -m bench.gateway --sessions 15000 --seconds 20 --codec proto --json

The gateway is a process of its own whose neighbours (stores, dispatchers) are stand-ins that answer at once and keep nothing, so that what is
measured is the gateway (`gateway_process.py`). Its devices are another process, compiled (`client/`): real sockets on the loopback
interface, signed in with tokens, acking what they get. Where there are two cores, each has one.
"""

import asyncio
import os
import tempfile
import time
from array import array
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from bench.client.process import LoadClient, records
from bench.gateway_neighbours import APP, SECRET
from bench.gateway_process import GatewayProcess, Work
from bench.machine import cores_apart, percentile, pin, print_header, print_json, resident_kib
from ops.process import allow_many_connections
from ops.tokens import mint
from push_core.clock import wall_ms

DEVICES, BATCH, UNACKED = 1_000, 256, 2_000
"""Push and ack: distinct messages, for devices in turn."""
SPREAD_DEVICES, UNDER_WAY = 5_000, 2
"""Fan-out: one message for all of them."""
PACE = 2_000
SIGN_INS_AT_ONCE = 200
SPREAD_SHARE, PACE_SHARE = 0.25, 0.5  # of --seconds; push and ack get all of them
WARM, WARM_S = 200, 1.0
SETTLE_S = 2.0
VOID_LAG_MS = 20.0
CODECS = {"json": ["json"], "proto": ["proto"], "both": ["json", "proto"]}
METHOD = (
    "gateway alone in its process on one core, neighbours are stand-ins in it that answer at once and keep nothing of a device; devices (compiled, acking, "
    "all that one read brought with one frame) in another process on the other core, loopback TCP. CPU is the gateway process's user and system time, less "
    "what making the messages took. Sign-in: TCP, upgrade, HS256, route, welcome, 200 in flight. Memory: growth of the process's RSS by idle signed-in "
    "sessions. Push and ack: a closed loop, messages with 200 bytes of content for 1,000 devices in turn, Deliver calls of 256, at most 2,000 un-acked. "
    "Fan-out: one message for 5,000 sessions, 2 under way, acks included. Paced: 2,000 Deliver calls of one message a second, latency from the "
    "instant that each was due until its device had read the frame"
)


async def measure(codec: str, *, sessions: int, seconds: float, cores: tuple[int, int] | None = None) -> dict[str, Any]:
    """One gateway, one crowd, all of the work in turn. `cores`: the gateway's and the devices'; whatever the system gives them
    otherwise. Raises RuntimeError when devices can't sign in."""
    ours, theirs = cores or (None, None)
    async with GatewayProcess.start(ours) as gateway:
        settle_s = min(SETTLE_S, seconds)
        await _warm(gateway, codec, theirs)
        await asyncio.sleep(settle_s)
        before_kib = resident_kib(gateway.pid)
        async with LoadClient.start(core=theirs, pass_fds=[gateway.progress]) as client:
            figures = await _sign_in(gateway, client, codec, sessions)
            await asyncio.sleep(settle_s)
            figures["rss_per_session_kib"] = round((resident_kib(gateway.pid) - before_kib) / sessions, 2)
            await client.progress(gateway.progress, every=BATCH // 2)
            figures |= await _push(gateway, client, min(DEVICES, sessions), seconds)
            figures |= await _spread(gateway, min(SPREAD_DEVICES, sessions), seconds * SPREAD_SHARE)
            figures |= await _paced(gateway, client, min(DEVICES, sessions), seconds * PACE_SHARE)
            counters = await client.counters()
            figures["busy_session_kib"] = round((resident_kib(gateway.pid) - before_kib) / sessions, 2)
    works: list[Work] = [figures.pop(name) for name in ("push_ack", "fanout", "paced")]
    lag_ms = max(counters.lag.p99_ms, figures["pacer_lag_p99_ms"])
    return {
        "sessions": sessions,
        "codec": f"taco.v1+{codec}",
        **figures,
        "offered": sum(work.offered for work in works),
        "not_accepted": sum(work.offered - work.accepted for work in works),
        "remainder": sum(work.remainder for work in works),
        "repeats_on_wire": counters.repeats,
        "client_lag_p99_ms": lag_ms,
        "void": lag_ms > VOID_LAG_MS,
        "cores": "one each" if cores else "as the system gives them",
    }


async def _warm(gateway: GatewayProcess, codec: str, core: int | None) -> None:
    """A first few come and go, so that what is done once in a process's life isn't counted."""
    async with LoadClient.start(core=core) as client:
        await client.sign_in(_devices("warm", WARM), [gateway.url], codec=codec)
        await client.close()


async def _sign_in(gateway: GatewayProcess, client: LoadClient, codec: str, sessions: int) -> dict[str, Any]:
    devices = _devices("d", sessions)
    before = await gateway.usage()
    entered = await client.sign_in(devices, [gateway.url], codec=codec, at_once=SIGN_INS_AT_ONCE, timeout_s=60.0)
    after = await gateway.usage()
    if entered.failed:
        raise RuntimeError(f"{entered.failed} of {sessions} devices could not sign in; the first: {entered.why}")
    system_s = after.system_s - before.system_s
    return {
        "signin_per_s": round(sessions / entered.seconds),
        "signin_cpu_us": round((after.user_s - before.user_s + system_s) * 1e6 / sessions, 1),
        "signin_kernel_us": round(system_s * 1e6 / sessions, 1),
    }


async def _push(gateway: GatewayProcess, client: LoadClient, devices: int, seconds: float) -> dict[str, Any]:
    await gateway.closed(seconds=min(WARM_S, seconds), devices=devices, batch=BATCH, unacked=UNACKED)
    await client.start_over()
    before = await client.counters()
    work = await gateway.closed(seconds=seconds, devices=devices, batch=BATCH, unacked=UNACKED)
    after = await client.counters()
    return _figures("push_ack", work) | {
        "making_us": work.us_per(work.making_s),
        "client_user_us": work.us_per((after.user_us - before.user_us) / 1e6),
        "client_kernel_us": work.us_per((after.system_us - before.system_us) / 1e6),
    }


async def _spread(gateway: GatewayProcess, devices: int, seconds: float) -> dict[str, Any]:
    work = await gateway.spread(seconds=seconds, devices=devices, under_way=UNDER_WAY)
    return _figures("fanout", work)


async def _paced(gateway: GatewayProcess, client: LoadClient, devices: int, seconds: float) -> dict[str, Any]:
    messages = round(PACE * seconds)
    with tempfile.TemporaryDirectory(prefix="taco-bench-") as folder:
        due_file, seen_file = Path(folder) / "due", Path(folder) / "seen"
        await client.log(seen=seen_file)
        work = asyncio.ensure_future(gateway.paced(messages=messages, devices=devices, file=due_file))
        late_s = await asyncio.to_thread(_keep_pace, gateway, messages)
        done = await work
        await client.log()
        due = array("q")
        due.frombytes(due_file.read_bytes())
        seen = {record.id: record.ns for record in records(seen_file)}
    latency_ms = [(seen[number] - at) / 1e6 for number, at in zip(due[::2], due[1::2], strict=True) if number in seen]
    return {
        f"p50_ms_at_{PACE}": _rounded(percentile(latency_ms, 50)),
        f"p99_ms_at_{PACE}": _rounded(percentile(latency_ms, 99)),
        "paced": done,
        "paced_cpu_us": done.us_per(done.user_s + done.system_s),
        "pacer_lag_p99_ms": _rounded((percentile(late_s, 99) or 0.0) * 1e3),
    }


def _keep_pace(gateway: GatewayProcess, messages: int) -> list[float]:
    """Tell the instants on time; how late each was told, in seconds."""
    late_s = []
    begin = time.monotonic_ns() + 50_000_000
    for number in range(messages):
        due = begin + number * 1_000_000_000 // PACE
        wait_ns = due - time.monotonic_ns()
        if wait_ns > 0:
            time.sleep(wait_ns / 1e9)
        gateway.pace_one(due)
        late_s.append((time.monotonic_ns() - due) / 1e9)
    return late_s


def _figures(name: str, work: Work) -> dict[str, Any]:
    return {
        f"{name}_per_s": round(work.acked / work.seconds),
        f"{name}_cpu_us": work.us_per(work.user_s + work.system_s),
        f"{name}_kernel_us": work.us_per(work.system_s),
        name: work,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


def _devices(prefix: str, count: int) -> list[tuple[str, str, str]]:
    now_s = wall_ms() // 1_000
    return [(APP, name, mint(APP, name, SECRET, now_s=now_s)) for name in (f"{prefix}-{n}" for n in range(count))]


def failed(figures: dict[str, Any]) -> bool:
    """Whether a run breaks a promise or says nothing; speed is for the reader to judge."""
    return bool(figures["void"] or figures["remainder"] or figures["repeats_on_wire"] or figures["not_accepted"])


def main(
    sessions: Annotated[int, typer.Option(min=1, max=18_000, help="Devices signed in.")] = 15_000,
    seconds: Annotated[float, typer.Option(min=0.1, help="Of push and ack; fan-out and paced work go by it.")] = 20.0,
    codec: Annotated[str, typer.Option(help="json, proto or both.")] = "proto",
    as_json: Annotated[bool, typer.Option("--json", help="Only the result on stdout.")] = False,
) -> None:
    """Measure one gateway."""
    if codec not in CODECS:
        raise typer.BadParameter(f"one of {', '.join(CODECS)}", param_hint="--codec")
    allow_many_connections()
    made = print_header("gateway", METHOD, {"sessions": sessions, "seconds": seconds, "codec": codec}, as_json=as_json)
    cores = cores_apart()
    if cores is not None:
        pin(os.getpid(), cores[1])  # who keeps the pace is no part of what is measured
    results = [uvloop.run(measure(each, sessions=sessions, seconds=seconds, cores=cores)) for each in CODECS[codec]]
    about = {"reference_us": round(made.reference_us), "machine": made.to_dict()}
    for figures in results:
        if not as_json:
            for name, value in figures.items():
                print(f"{name:>20}  {value}")
    print_json((results[0] if len(results) == 1 else {"results": results}) | about)
    raise typer.Exit(1 if any(map(failed, results)) else 0)


if __name__ == "__main__":
    typer.run(main)
