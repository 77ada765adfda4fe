"""What a message costs as the work grows: acked a second and CPU per message at several rates and numbers of devices.

    python -m bench.growth --backends real --json

One system for all steps, a fresh crowd of devices for each. Every step is a run of `bench.e2e` with the same callers' batch, so that what changes is
the load alone. The last line is one JSON object. Exit status 1 if a step breaks a promise.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import uvloop

from bench.backends import Running
from bench.e2e import backends, failed, measure
from bench.machine import print_header, print_json

METHOD = (
    "steps of bench.e2e on one running system: rates at the middle number of devices, then numbers of devices at the middle rate; an open loop, "
    "devices that ack, CPU of whole processes per push, what they use at rest included"
)
KEPT = (
    "offered_per_s",
    "acked_per_s",
    "p50_ms",
    "p99_ms",
    "total_us",
    "cpu_us",
    "client_lag_p99_ms",
    "lost",
    "remainder",
)


def steps(rates: list[float], devices: list[int]) -> list[tuple[int, float]]:
    """(devices, rate): each rate with the middle number of devices, each number of devices with the middle rate, none twice.

    >>> steps([100, 1000, 6000], [1000, 5000, 15000])
    [(5000, 100), (5000, 1000), (5000, 6000), (1000, 1000), (15000, 1000)]
    """
    crowd, rate = sorted(devices)[len(devices) // 2], sorted(rates)[len(rates) // 2]
    return list(dict.fromkeys([(crowd, each) for each in rates] + [(each, rate) for each in devices]))


async def run(options: argparse.Namespace, data: Path) -> list[dict[str, Any]]:
    rows = []
    async with backends(options, data) as running:
        for devices, rate in steps(options.rates, options.devices):
            figures = await _step(options, running, devices, rate)
            row = {
                "devices": devices,
                "rate": rate,
                **{name: figures[name] for name in KEPT},
                "failed": failed(figures),
            }
            print(f"# {row}", file=sys.stderr, flush=True)
            rows.append(row)
    return rows


async def _step(options: argparse.Namespace, running: Running, devices: int, rate: float) -> dict[str, Any]:
    return await measure(argparse.Namespace(**{**vars(options), "devices": devices, "rate": rate}), running)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--backends", choices=["embedded", "real"], default="real", help="what stands behind the ports")
    parser.add_argument(
        "--rates", type=_numbers, default=[100, 1_000, 6_000], help="pushes offered a second, with commas"
    )
    parser.add_argument("--devices", type=_numbers, default=[1_000, 5_000, 15_000], help="connected, with commas")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each step")
    parser.add_argument("--batch", type=int, default=10, help="pushes in one request")
    parser.add_argument("--connections", type=int, default=16, help="callers' connections to each API")
    parser.add_argument(
        "--client", choices=["compiled", "python"], default="compiled", help="the load's: in C (needs cc) or in Python"
    )
    parser.add_argument("--data", type=Path, help="keep the stores in this folder; a temporary one otherwise")
    parser.add_argument("--json", action="store_true", help="figures only, on the last line; the rest on stderr")
    parser.set_defaults(gateways=1, dispatchers=1, apis=1, relays=0, config=None, up=[], warm_up=2.0, sample=10.0)
    options = parser.parse_args()
    settings = {name: getattr(options, name) for name in ("backends", "rates", "devices", "seconds", "batch")}
    made = print_header("growth", METHOD, settings, as_json=options.json)
    folder = options.data or Path(tempfile.mkdtemp(prefix="taco-growth-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            rows = runner.run(run(options, folder / "data"))
    finally:
        if options.data is None:
            shutil.rmtree(folder, ignore_errors=True)
    if not options.json:
        for row in rows:
            print(row)
    print_json({"steps": rows, "settings": settings, "reference_us": round(made.reference_us)})
    return 1 if any(row["failed"] for row in rows) else 0


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    sys.exit(main())
