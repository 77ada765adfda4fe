"""What a live broadcast costs a gateway, and what it costs everybody else meanwhile.

    python -m bench.broadcast --sessions 15000 --json

The gateway and its devices are those of `bench.gateway`: a process each, a core each. All but a thousand of the devices are subscribed to one topic (by
the server side); the others get 2,000 paced pushes a second, first alone and then while broadcasts go on.
"""

import asyncio
import tempfile
from array import array
from pathlib import Path
from typing import Annotated, Any

import typer
import uvloop

from bench.broadcast_turns import Cast
from bench.client.process import LoadClient, records
from bench.gateway import PACE, _keep_pace, _rounded, _sign_in, _warm
from bench.gateway_process import GatewayProcess
from bench.machine import cores_apart, percentile, print_header, print_json
from ops.process import allow_many_connections

OTHERS = 1_000
COUNT = 10
EVERY_S = 1.0
METHOD = (
    "gateway alone in its process on one core, neighbours are stand-ins; devices (compiled, acking) in another process on the other core. Ten broadcasts to all "
    "subscribed sessions, one after the other; CPU is the gateway process's until the last ack is counted, per session; the kernel's part of it; and the time of the slices alone. A slice is "
    "what one turn of a broadcast holds the loop, a turn the time until the loop calls again, the writes' system calls included. Others: 2,000 paced pushes a second to a "
    "thousand devices that are not subscribed, alone and beside a broadcast a second; latency from the instant that each was due until its device had read it"
)


async def measure(
    codec: str, *, sessions: int, seconds: float, others: int = OTHERS, cores: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Broadcasts to all sessions but `others`, which get paced pushes."""
    ours, theirs = cores or (None, None)
    subscribed = sessions - others
    async with GatewayProcess.start(ours) as gateway:
        await _warm(gateway, codec, theirs)
        async with LoadClient.start(core=theirs, pass_fds=[gateway.progress]) as client:
            await _sign_in(gateway, client, codec, sessions)
            await client.progress(gateway.progress, every=128)
            await gateway.casts(count=2, sessions=subscribed)
            cast = await gateway.casts(count=COUNT, sessions=subscribed)
            alone = await _paced(gateway, client, range(subscribed, sessions), seconds, None)
            casts = {"count": max(1, int(seconds / EVERY_S)), "sessions": subscribed, "every_s": EVERY_S}
            beside = await _paced(gateway, client, range(subscribed, sessions), seconds, casts)
            counters = await client.counters()
    return {
        "codec": f"taco.v1+{codec}",
        "sessions": sessions,
        "subscribed": subscribed,
        **_figures(cast),
        "others_p50_ms_alone": alone[0],
        "others_p99_ms_alone": alone[1],
        "others_p50_ms_beside": beside[0],
        "others_p99_ms_beside": beside[1],
        "client_lag_p99_ms": counters.lag.p99_ms,
        "repeats_on_wire": counters.repeats,
        "cores": "one each" if cores else "as the system gives them",
    }


def _figures(cast: Cast) -> dict[str, Any]:
    return {
        "written": cast.written,
        "not_acked": cast.written - cast.acked,
        "write_and_ack_cpu_us": round(cast.cpu_s * 1e6 / cast.written, 2),
        "kernel_us": round(cast.system_s * 1e6 / cast.written, 2),
        "slice_us": round(cast.slices_s * 1e6 / cast.written, 2),
        "longest_slice_ms": cast.longest_slice_ms,
        "longest_turn_ms": cast.longest_turn_ms,
        "slices": cast.slices,
    }


async def _paced(
    gateway: GatewayProcess, client: LoadClient, others: range, seconds: float, casts: dict[str, Any] | None
) -> tuple[float | None, float | None]:
    """p50 and p99 of the others, in ms."""
    messages = round(PACE * seconds)
    with tempfile.TemporaryDirectory(prefix="taco-bench-") as folder:
        due_file, seen_file = Path(folder) / "due", Path(folder) / "seen"
        await client.log(seen=seen_file)
        work = asyncio.ensure_future(
            gateway.paced(messages=messages, devices=len(others), file=due_file, first=others.start, casts=casts)
        )
        await asyncio.to_thread(_keep_pace, gateway, messages)
        await work
        await client.log()
        due = array("q")
        due.frombytes(due_file.read_bytes())
        seen = {record.id: record.ns for record in records(seen_file)}
    latency_ms = [(seen[number] - at) / 1e6 for number, at in zip(due[::2], due[1::2], strict=True) if number in seen]
    return _rounded(percentile(latency_ms, 50)), _rounded(percentile(latency_ms, 99))


def main(
    sessions: Annotated[int, typer.Option(min=OTHERS + 1)] = 15_000,
    seconds: Annotated[float, typer.Option(min=1.0, help="Of each of the two paced parts.")] = 10.0,
    codec: Annotated[str, typer.Option(help="proto or json")] = "proto",
    as_json: Annotated[bool, typer.Option("--json", help="Only the result on stdout.")] = False,
) -> None:
    print_header("broadcast", METHOD, {"sessions": sessions, "seconds": seconds, "codec": codec}, as_json=as_json)
    allow_many_connections()
    print_json(uvloop.run(measure(codec, sessions=sessions, seconds=seconds, cores=cores_apart())))


if __name__ == "__main__":
    typer.run(main)
