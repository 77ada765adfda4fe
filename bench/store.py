"""What the message store costs: CPU of this process per message, by operation and batch. `python -m bench.store --json`.

Measured on a SQLite file with the settings of production (WAL, synchronous=FULL). CPU is user + system of the whole process, all threads,
taken around many batches; wall time is shown beside it, since a commit waits for the disk. Batches are made before the clock starts.
"""

import argparse
import asyncio
import json
import os
import platform
import resource
import sqlite3
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from bench.envelopes import envelope
from dispatcher.delivery import inbox_row
from push_core.clock import wall_ms
from push_core.ids import ISSUERS, SEQUENCES, SHARDS, make_id
from push_core.lifecycle import Reason, State
from push_core.messages.port import Change, InboxAsk, NewMessage
from push_core.messages.sql import SqlMessages

APP = "bench"
DEVICES = 1_000


class Ids:
    """Ids of now, all different, whatever the rate."""

    def __init__(self) -> None:
        self._n = 0

    def next(self) -> int:
        self._n += 1
        n = self._n
        return make_id(wall_ms(), n // (SEQUENCES * ISSUERS) % SHARDS, n // SEQUENCES % ISSUERS, n % SEQUENCES)


def messages(ids: Ids, n: int) -> list[NewMessage]:
    now = wall_ms()
    return [NewMessage(envelope=envelope(ids.next(), APP, f"device-{i % DEVICES:06}", now)) for i in range(n)]


def delivered(batch: Sequence[NewMessage]) -> list[Change]:
    return [
        Change(
            id=item.envelope.id,
            app=APP,
            device=item.envelope.devices[0],
            to=State.DELIVERED,
            at=item.envelope.sent + 40,
            channel="long",
            written_at=item.envelope.sent + 15,
            stored=False,
        )
        for item in batch
    ]


def stored(batch: Sequence[NewMessage]) -> list[Change]:
    changes = []
    for item in batch:
        envelope = item.envelope
        changes.append(
            Change(
                id=envelope.id,
                app=APP,
                device=envelope.devices[0],
                to=State.WAITING,
                at=envelope.sent + 20,
                reason=Reason.OFFLINE,
                inbox=inbox_row(envelope),
            )
        )
    return changes


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def _measure(
    name: str, size: int, batches: Sequence[Any], work: Callable[[Any], Awaitable[Any]]
) -> dict[str, Any]:
    cpu, wall = _cpu_s(), time.perf_counter()
    for batch in batches:
        await work(batch)
    cpu, wall = _cpu_s() - cpu, time.perf_counter() - wall
    total = size * len(batches)
    return {
        "operation": name,
        "batch": size,
        "messages": total,
        "cpu_us": round(cpu / total * 1e6, 2),
        "wall_us": round(wall / total * 1e6, 2),
    }


async def run(folder: Path, total: int, sizes: Sequence[int]) -> list[dict[str, Any]]:
    results = []
    for size in sizes:
        store = await SqlMessages.open(f"sqlite:///{folder / f'store-{size}.sqlite'}")
        ids, count = Ids(), max(20, min(total, size * 400) // size)
        now = wall_ms()

        async def commit(batch: list[NewMessage], store: SqlMessages = store) -> None:
            await store.commit(batch, now=wall_ms(), oldest_ms=600_000)

        async def apply(changes: list[Change], store: SqlMessages = store, now: int = now) -> None:
            await store.apply(changes, now=now)

        async def read(asks: list[InboxAsk], store: SqlMessages = store, now: int = now) -> None:
            await store.inbox(asks, now=now)

        await commit(messages(ids, size))  # connections and statements exist before the clock starts
        batches = [messages(ids, size) for _ in range(count)]
        results.append(await _measure("commit", size, batches, commit))
        acks = [delivered(batch) for batch in batches]
        results.append(await _measure("apply delivered", size, acks, apply))
        results.append(await _measure("apply delivered again", size, acks, apply))
        batches = [messages(ids, size) for _ in range(max(10, count // 4))]
        for batch in batches:
            await commit(batch)
        results.append(await _measure("inbox put", size, [stored(batch) for batch in batches], apply))
        names = [[f"device-{(k * size + i) % DEVICES:06}" for i in range(size)] for k in range(len(batches))]
        asks = [[InboxAsk(APP, name, 32) for name in part] for part in names]
        results.append(await _measure("inbox read, a device", size, asks, read))
        await store.close()
    results.append(await _together(folder, total, callers=64))
    return results


async def _together(folder: Path, total: int, callers: int) -> dict[str, Any]:
    """Callers of one message each, all at once: what group commit saves. To be held against "commit" with a batch of 1."""
    store = await SqlMessages.open(f"sqlite:///{folder / 'together.sqlite'}")
    ids = Ids()

    async def round_of(batch: list[NewMessage]) -> None:
        await asyncio.gather(*[store.commit([item], now=wall_ms(), oldest_ms=600_000) for item in batch])

    await round_of(messages(ids, callers))
    batches = [messages(ids, callers) for _ in range(max(10, min(total, 6_400) // callers))]
    result = await _measure(f"commit, {callers} callers of 1", callers, batches, round_of)
    await store.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--total", type=int, default=20_000, help="messages for each operation and batch, at most")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument(
        "--folder", type=Path, help="where the files go: measures that disk (default: a temporary folder)"
    )
    parser.add_argument("--json", action="store_true", help="print the JSON object only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        results = asyncio.run(run(Path(folder), options.total, options.batches))
    if not options.json:
        for line in results:
            print(
                f"{line['operation']:24} batch {line['batch']:4}  {line['cpu_us']:8.2f} µs CPU  {line['wall_us']:9.2f} µs wall"
            )
    print(
        json.dumps(
            {
                "bench": "store",
                "method": "CPU (user + system, all threads of the process) per message; one caller; SQLite file, WAL, synchronous=FULL",
                "machine": {
                    "cores": os.cpu_count(),
                    "arch": platform.machine(),
                    "python": platform.python_version(),
                    "sqlite": sqlite3.sqlite_version,
                    "system": sys.platform,
                },
                "results": results,
            }
        )
    )


if __name__ == "__main__":
    main()
