"""What the message store costs: CPU per message, by operation and batch. `python -m bench.store [--dsn mysql://…/taco_bench] --json`.

Measured on a SQLite file with the settings of production (WAL, synchronous=FULL), or on a database of a server, which must be called
…bench and is emptied. CPU is user + system of the whole process, all threads, and beside it that of the server, all threads, taken around
many batches; wall time is shown too, since a commit waits for the disk. Batches are made before the clock starts.
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
from typing import Any, Protocol

import pymysql
from sqlalchemy.engine import make_url

from bench.envelopes import envelope
from bench.machine import fdatasync_us
from dispatcher.delivery import inbox_row
from push_core.clock import wall_ms
from push_core.ids import ISSUERS, SEQUENCES, SHARDS, make_id
from push_core.lifecycle import Reason, State
from push_core.messages.port import Change, InboxAsk, NewMessage
from push_core.messages.sql import SqlMessages
from push_core.sql.upgrade import upgrade_store

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


class Place(Protocol):
    """Where stores are measured."""

    def fresh(self, name: str) -> str:
        """The DSN of an empty store."""
        ...

    def cpu_s(self) -> float:
        """CPU that the server has used."""
        ...


class Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fresh(self, name: str) -> str:
        return f"sqlite:///{self._folder / f'{name}.sqlite'}"

    def cpu_s(self) -> float:
        return 0.0


class OnServer:
    def __init__(self, dsn: str) -> None:
        self._url = make_url(dsn)
        if not str(self._url.database).endswith("bench"):
            raise SystemExit("bench.store empties the database: give one whose name ends in bench")
        self._dsn = dsn
        upgrade_store(dsn, "messages")
        with self._connect() as admin, admin.cursor() as cursor:
            cursor.execute("SELECT @@pid_file, @@datadir, @@version")
            ((pid_file, folder, self.version),) = cursor.fetchall()
        self._pid = int((Path(folder) / pid_file).read_text())

    def _connect(self) -> Any:
        url = self._url
        return pymysql.connect(
            host=url.host,
            port=url.port or 3306,
            user=url.username,
            password=url.password or "",
            database=url.database,
            unix_socket=url.query.get("socket"),
        )

    def fresh(self, name: str) -> str:  # noqa: ARG002 - each of them, emptied, is the same
        with self._connect() as admin, admin.cursor() as cursor:
            for table in ("messages", "deliveries", "inbox", "later", "idempotency"):
                cursor.execute(f"TRUNCATE TABLE {table}")
        return self._dsn

    def cpu_s(self) -> float:
        """To the nanosecond, since a run is short: sched_schedstats of each thread."""
        tasks = Path(f"/proc/{self._pid}/task").iterdir()
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


async def _measure(
    place: Place, name: str, size: int, batches: Sequence[Any], work: Callable[[Any], Awaitable[Any]]
) -> dict[str, Any]:
    cpu, server, wall = _cpu_s(), place.cpu_s(), time.perf_counter()
    for batch in batches:
        await work(batch)
    cpu, server, wall = _cpu_s() - cpu, place.cpu_s() - server, time.perf_counter() - wall
    total = size * len(batches)
    return {
        "operation": name,
        "batch": size,
        "messages": total,
        "cpu_us": round(cpu / total * 1e6, 2),
        "server_us": round(server / total * 1e6, 2),
        "wall_us": round(wall / total * 1e6, 2),
    }


async def run(place: Place, total: int, sizes: Sequence[int]) -> list[dict[str, Any]]:
    results = []
    for size in sizes:
        store = await SqlMessages.open(await asyncio.to_thread(place.fresh, f"store-{size}"))
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
        results.append(await _measure(place, "commit", size, batches, commit))
        acks = [delivered(batch) for batch in batches]
        results.append(await _measure(place, "apply delivered", size, acks, apply))
        results.append(await _measure(place, "apply delivered again", size, acks, apply))
        batches = [messages(ids, size) for _ in range(max(10, count // 4))]
        for batch in batches:
            await commit(batch)
        results.append(await _measure(place, "inbox put", size, [stored(batch) for batch in batches], apply))
        names = [[f"device-{(k * size + i) % DEVICES:06}" for i in range(size)] for k in range(len(batches))]
        asks = [[InboxAsk(APP, name, 32) for name in part] for part in names]
        results.append(await _measure(place, "inbox read, a device", size, asks, read))
        await store.close()
    results.append(await _together(place, total, callers=64))
    return results


async def _together(place: Place, total: int, callers: int) -> dict[str, Any]:
    """Callers of one message each, all at once: what group commit saves. To be held against "commit" with a batch of 1."""
    store = await SqlMessages.open(await asyncio.to_thread(place.fresh, "together"))
    ids = Ids()

    async def round_of(batch: list[NewMessage]) -> None:
        await asyncio.gather(*[store.commit([item], now=wall_ms(), oldest_ms=600_000) for item in batch])

    await round_of(messages(ids, callers))
    batches = [messages(ids, callers) for _ in range(max(10, min(total, 6_400) // callers))]
    result = await _measure(place, f"commit, {callers} callers of 1", callers, batches, round_of)
    await store.close()
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--total", type=int, default=20_000, help="messages for each operation and batch, at most")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument(
        "--folder", type=Path, help="where the files go: measures that disk (default: a temporary folder)"
    )
    parser.add_argument(
        "--dsn", help="mysql://… of a database whose name ends in bench: it is emptied (default: SQLite)"
    )
    parser.add_argument("--json", action="store_true", help="print the JSON object only")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        place = OnServer(options.dsn) if options.dsn else Files(Path(folder))
        results = asyncio.run(run(place, options.total, options.batches))
        written_with = fdatasync_us(Path(folder))
    if not options.json:
        for line in results:
            print(
                f"{line['operation']:24} batch {line['batch']:4}  {line['cpu_us']:8.2f} µs CPU  {line['server_us']:8.2f} µs server  {line['wall_us']:9.2f} µs wall"
            )
    print(
        json.dumps(
            {
                "bench": "store",
                "method": "CPU (user + system, all threads of the process; beside it of the server) per message; one caller; "
                + (
                    f"{place.version}, innodb_flush_log_at_trx_commit=1"
                    if isinstance(place, OnServer)
                    else "SQLite file, WAL, synchronous=FULL"
                ),
                "machine": {
                    "cores": os.cpu_count(),
                    "arch": platform.machine(),
                    "python": platform.python_version(),
                    "sqlite": sqlite3.sqlite_version,
                    "system": sys.platform,
                    "fdatasync_us": written_with,
                },
                "results": results,
            }
        )
    )


if __name__ == "__main__":
    main()
