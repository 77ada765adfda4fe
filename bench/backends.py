"""What a benchmark runs against: `taco up` on embedded stores, or a cluster of separate programs on real servers. Both look the same to it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pymysql
import pymysql.cursors

from bench.cluster_process import ClusterProcess, start_cluster
from bench.lean_http import LeanHttp
from bench.machine import descendants, resident_kib
from bench.stored import states_of
from bench.taco_process import start_taco
from push_core.dsn import Dsn
from push_core.sql.states import STATE

States = Callable[[LeanHttp, Sequence[int]], Awaitable[dict[int, str | None]]]


@dataclass(slots=True)
class Running:
    """`groups` are process ids by program and server, whose CPU is measured apart; `states` says what became of accepted messages."""

    apis: Sequence[str]
    gateways: Sequence[str]
    app: str
    key: str
    device_secret: str
    groups: Mapping[str, Sequence[int]]
    states: States
    durable: str
    log: Path = field(default=Path())

    def resident_mib(self) -> dict[str, int]:
        return {name: round(sum(resident_kib(pid) for pid in pids) / 1024) for name, pids in self.groups.items()}


@asynccontextmanager
async def embedded(data: Path, *options: str) -> AsyncIterator[Running]:
    """Raises RuntimeError at the end if it did not stop in order."""
    taco = await start_taco(data, *options)
    try:
        yield Running(
            apis=[taco.api],
            gateways=[taco.gateway],
            app=taco.app,
            key=taco.key,
            device_secret=taco.device_secret,
            groups={"all": [taco.pid]},
            states=lambda http, ids: states_of(http, list(ids)),
            durable="SQLite, synchronous=FULL",
            log=taco.log,
        )
    finally:
        status = await taco.stop()
    if status != 0:
        raise RuntimeError(f"taco up ended with status {status}; its log is {taco.log}")


@asynccontextmanager
async def real(
    data: Path, *, gateways: int, dispatchers: int, apis: int, relays: int = 0, config: Path | None = None
) -> AsyncIterator[Running]:
    """MariaDB, RabbitMQ and Redis, and each program a process of its own."""
    async with start_cluster(
        data, gateways=gateways, dispatchers=dispatchers, apis=apis, relays=relays, config=config
    ) as cluster:

        async def states(http: LeanHttp, ids: Sequence[int]) -> dict[int, str | None]:
            del http  # hundreds of thousands of GETs would outlast the run
            return stored_states(cluster.maria.dsn, ids)

        yield Running(
            apis=cluster.apis,
            gateways=cluster.gateways,
            app=cluster.app,
            key=cluster.key,
            device_secret=cluster.device_secret,
            groups=groups_of(cluster),
            states=states,
            durable=_durable(cluster.maria.dsn),
            log=cluster.log,
        )


def groups_of(cluster: ClusterProcess) -> dict[str, list[int]]:
    """By role of the programs and name of the servers, with the processes that they have started."""
    state = cluster.state()
    groups: dict[str, list[int]] = {}
    for entry in state["processes"]:
        role = "relay" if entry["name"].startswith("relay") else entry["role"]
        groups.setdefault(role, []).extend((entry["pid"], *descendants(entry["pid"])))
    for entry in state["servers"]:
        groups[entry["name"]] = [entry["pid"], *descendants(entry["pid"])]
    return groups


def stored_states(dsn: str, ids: Sequence[int]) -> dict[int, str | None]:
    """What the message store has of these; one device each. Reads the table, so that the product's word is not needed."""
    found: dict[int, str | None] = dict.fromkeys(ids)
    if not ids:
        return found
    with _connected(dsn) as connection, connection.cursor(pymysql.cursors.SSCursor) as cursor:
        cursor.execute("SELECT id, state FROM deliveries WHERE id BETWEEN %s AND %s", (min(ids), max(ids)))
        for message_id, code in cursor:
            if message_id in found:
                found[message_id] = STATE[code].value
    return found


def _durable(dsn: str) -> str:
    with _connected(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT VERSION(), @@innodb_flush_log_at_trx_commit, @@innodb_doublewrite, @@sync_binlog, @@log_bin"
        )
        version, flush, doublewrite, sync_binlog, log_bin = cursor.fetchone() or ("?",) * 5
    return (
        f"{version}, innodb_flush_log_at_trx_commit={flush}, doublewrite={doublewrite}, "
        f"log_bin={log_bin}, sync_binlog={sync_binlog}"
    )


def _connected(dsn: str) -> "pymysql.connections.Connection[pymysql.cursors.Cursor]":
    url = Dsn.parse(dsn, "the message store", ["mysql"]).url
    return pymysql.connect(
        host=url.hostname or "",
        port=url.port or 3306,
        user=url.username or "",
        password=url.password or "",
        database=url.path.strip("/"),
    )
