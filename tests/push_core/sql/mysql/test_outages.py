"""What a server that dies, is held or comes back leaves: certainty where there is certainty, bounded waits, recovery by itself."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import TypeVar

import pytest
from pymysql.connections import Connection as Driver
from pymysql.err import OperationalError
from sqlalchemy import Connection

from ops.cluster.servers import MariaServer
from push_core.errors import DeadlineExceeded, Unavailable
from push_core.messages.port import Commit
from push_core.messages.sql import SqlMessages
from push_core.sql.database import Database
from push_core.sql.upgrade import upgrade_store
from tests.contracts.messages_support import NOW, envelope, new
from tests.support.maria import Tables, connect
from tests.support.servers import require_server

R = TypeVar("R")
QUICK = "?timeout_s=1&lock_wait_s=1&connect_timeout_s=1&partition_days=0"


@pytest.fixture(scope="module")
def own_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MariaServer]:
    """A server that may be killed."""
    require_server(MariaServer)
    server = MariaServer(tmp_path_factory.mktemp("mariadb"))
    try:
        server.start()
        upgrade_store(server.dsn, "messages")
        yield server
    finally:
        server.stop()


@pytest.fixture
async def store(own_server: MariaServer) -> AsyncIterator[SqlMessages]:
    await asyncio.to_thread(own_server.start)
    store = await SqlMessages.open(own_server.dsn + QUICK)
    yield store
    await store.close()


async def until(call: Callable[[], Awaitable[R]], within_s: float = 15.0) -> R:
    deadline = time.monotonic() + within_s
    while True:
        try:
            return await call()
        except Unavailable:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)


async def test_what_was_answered_is_there_after_a_kill_and_the_store_recovers_by_itself(
    own_server: MariaServer, store: SqlMessages
) -> None:
    answered: list[int] = []
    refused: list[Unavailable] = []

    async def caller(first: int) -> None:
        for n in range(first, first + 100_000, 8):
            try:
                await store.commit([new(n, "a")], now=NOW, oldest_ms=10**12)
            except Unavailable as error:
                refused.append(error)
                return
            answered.append(n)

    callers = [asyncio.create_task(caller(first)) for first in range(8)]
    while len(answered) < 200:
        await asyncio.sleep(0.01)
    await asyncio.to_thread(own_server.kill)
    await asyncio.gather(*callers)
    assert len(refused) == 8
    with pytest.raises(Unavailable, match=r"can't be reached|ended the connection"):
        await store.commit([new(1_000_000, "a")], now=NOW, oldest_ms=10**12)
    await asyncio.to_thread(own_server.start)
    await until(store.ping)
    found = await store.envelopes([envelope(n).id for n in answered])
    assert [e.id for e in found if e] == [envelope(n).id for n in answered]


async def test_a_server_that_is_held_is_answered_for_in_time_and_comes_back_by_itself(
    own_server: MariaServer, store: SqlMessages
) -> None:
    await store.commit([new(2_000_000, "a")], now=NOW, oldest_ms=10**12)
    own_server.pause()
    try:
        began = time.monotonic()
        calls = [store.commit([new(2_000_001 + n, "a")], now=NOW, oldest_ms=10**12) for n in range(8)]
        answers = await asyncio.gather(*calls, store.ping(), return_exceptions=True)
        assert time.monotonic() - began < 8, "the bound is 5 s, and several callers wait at the same time"
        assert all(isinstance(answer, Unavailable) for answer in answers), answers
    finally:
        own_server.resume()
    await until(store.ping)
    repeats = await store.commit([new(2_000_001 + n, "a") for n in range(8)], now=NOW, oldest_ms=10**12)
    assert {repeat.outcome for repeat in repeats} == {Commit.DONE}, "a repeat of what nobody knows about is done"


async def test_a_server_that_is_down_cannot_be_opened_and_says_so_at_once(own_server: MariaServer) -> None:
    await asyncio.to_thread(own_server.stop)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="can't be reached: Connection refused"):
        await SqlMessages.open(own_server.dsn + QUICK)
    assert time.monotonic() - began < 3
    await asyncio.to_thread(own_server.start)
    await (await SqlMessages.open(own_server.dsn + QUICK)).close()


async def test_a_connection_that_the_server_ended_is_replaced_and_nobody_notices(maria_tables: Tables) -> None:
    maria_tables.empty()
    store = await SqlMessages.open(maria_tables.dsn)
    await store.commit([new(1, "a")], now=NOW)
    await store.ping()
    assert await asyncio.to_thread(kill_connections, maria_tables.dsn) >= 2
    await store.commit([new(2, "a")], now=NOW)
    await store.ping()
    await store.close()


async def test_a_connection_that_ends_half_way_through_a_transaction_is_replaced_and_the_work_done_once(
    maria_tables: Tables,
) -> None:
    maria_tables.empty()
    database = await Database.open(maria_tables.dsn, "messages")
    runs = 0

    def work(conn: Connection) -> None:
        nonlocal runs
        runs += 1
        conn.exec_driver_sql(f"INSERT INTO cursors (name, place) VALUES ('run {runs}', 1)")
        if runs == 1:
            kill_connections(maria_tables.dsn)
        conn.exec_driver_sql("INSERT INTO cursors (name, place) VALUES ('last', 1)")

    await database.write(work)
    names = await database.read(lambda conn: conn.exec_driver_sql("SELECT name FROM cursors").scalars().all())
    assert sorted(names) == ["last", "run 2"]
    await database.close()


async def test_nobody_knows_what_became_of_a_commit_without_an_answer(
    maria_tables: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    maria_tables.empty()
    store = await SqlMessages.open(maria_tables.dsn)
    await store.commit([new(1, "a")], now=NOW)
    real = Driver.commit

    def commit(self: Driver) -> None:
        monkeypatch.undo()
        real(self)
        self._force_close()  # type: ignore[attr-defined]
        raise OperationalError(2013, "the answer got lost")

    monkeypatch.setattr(Driver, "commit", commit)
    with pytest.raises(DeadlineExceeded, match="unknown"):
        await store.commit([new(2, "a")], now=NOW)
    (answer,) = await store.commit([new(2, "a")], now=NOW)
    assert answer.outcome is Commit.DONE, "a repeat finds its own rows"
    await store.close()


def kill_connections(dsn: str) -> int:
    """All of the database but the one that asks; how many."""
    with connect(dsn) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()")
        ids = [row[0] for row in cursor.fetchall()]
        for one in ids:
            cursor.execute(f"KILL {one}")
    return len(ids)
