"""The threads and the calls given to them: deadlines, bounds, groups, and whose failure is whose."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from push_core.errors import DeadlineExceeded, Overloaded, TacoError, Unavailable
from push_core.sql import database as module
from push_core.sql.database import Database


@pytest.fixture(params=["file", "memory"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    dsn = "sqlite://" if request.param == "memory" else f"sqlite:///{tmp_path / 'x.sqlite'}"
    database = await Database.open(dsn, "messages")
    yield database
    await database.close()


def put(conn: Connection, name: str) -> None:
    conn.exec_driver_sql("INSERT INTO cursors (name, place) VALUES (?, 1)", (name,))


async def names(database: Database) -> list[str]:
    rows = await database.read(lambda conn: conn.exec_driver_sql("SELECT name FROM cursors ORDER BY name").fetchall())
    return [row[0] for row in rows]


class Gate:
    """Holds the writing thread until opened."""

    def __init__(self, database: Database) -> None:
        self.entered = threading.Event()
        self._open = threading.Event()
        self.call = asyncio.ensure_future(database.write(self._wait))

    def _wait(self, _conn: Connection) -> None:
        self.entered.set()
        self._open.wait()

    async def closed(self) -> None:
        await asyncio.to_thread(self.entered.wait)

    def open(self) -> None:
        self._open.set()


async def test_one_that_fails_takes_nobody_with_it(database: Database) -> None:
    gate = Gate(database)
    await gate.closed()

    def bad(conn: Connection) -> None:
        put(conn, "bad")
        raise Unavailable("no")

    def bug(conn: Connection) -> None:
        put(conn, "bug")
        raise KeyError("x")

    def wrong(conn: Connection) -> None:
        put(conn, "wrong")
        conn.exec_driver_sql("SELECT nonsense")

    calls = [database.write(partial(put, name=f"good-{n}")) for n in range(3)]
    asked = asyncio.gather(calls[0], *map(database.write, (bad, bug, wrong)), *calls[1:], return_exceptions=True)
    await asyncio.sleep(0)
    gate.open()
    first, *failed, second, third = await asked
    assert (first, second, third) == (None, None, None)
    assert [type(error) for error in failed] == [Unavailable, KeyError, TacoError]
    assert await names(database) == ["good-0", "good-1", "good-2"]


async def test_a_failed_call_alone_is_undone(database: Database) -> None:
    def bad(conn: Connection) -> None:
        put(conn, "bad")
        raise KeyError("x")

    with pytest.raises(KeyError):
        await database.write(bad)
    assert await names(database) == []


async def test_calls_that_wait_share_a_transaction(tmp_path: Path) -> None:
    database = await Database.open(f"sqlite:///{tmp_path / 'x.sqlite'}", "messages")
    other = await Database.open(f"sqlite:///{tmp_path / 'x.sqlite'}", "messages")
    gate = Gate(database)
    await gate.closed()
    seen: list[tuple[int, list[str]]] = []
    loop = asyncio.get_running_loop()

    def look(conn: Connection) -> None:
        inside = conn.exec_driver_sql("SELECT COUNT(*) FROM cursors").scalar_one()
        outside = asyncio.run_coroutine_threadsafe(names(other), loop).result()
        seen.append((inside, outside))

    calls = [asyncio.ensure_future(database.write(partial(put, name=str(n)))) for n in range(5)]
    last = asyncio.ensure_future(database.write(look))
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(*calls, last)
    assert seen == [(5, [])], "five calls are made and none is committed before the sixth is"
    assert len(await names(other)) == 5
    await other.close()
    await database.close()


async def test_a_call_that_was_not_begun_in_time_is_never_made(database: Database) -> None:
    gate = Gate(database)
    await gate.closed()
    with pytest.raises(Unavailable, match="nothing was done") as caught:
        await database.write(lambda conn: put(conn, "late"), deadline_s=0.01)
    assert not isinstance(caught.value, DeadlineExceeded)
    gate.open()
    await database.write(lambda conn: put(conn, "next"))
    assert await names(database) == ["next"]


async def test_a_call_that_was_begun_is_finished_after_its_deadline(database: Database) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(conn: Connection) -> None:
        begun.set()
        go.wait()
        put(conn, "slow")

    call = asyncio.ensure_future(database.write(slow, deadline_s=0.05))
    await asyncio.to_thread(begun.wait)
    with pytest.raises(DeadlineExceeded):
        await call
    go.set()
    await database.write(lambda conn: put(conn, "next"))
    assert await names(database) == ["next", "slow"]


async def test_a_refusal_before_commit_undoes_that_call_alone(database: Database) -> None:
    gate = Gate(database)
    await gate.closed()
    runs: list[str] = []

    def good(conn: Connection) -> None:
        runs.append("good")
        put(conn, "good")

    def refuse() -> None:
        raise Unavailable("too old")

    asked = asyncio.gather(
        database.write(good),
        database.write(lambda conn: put(conn, "refused"), before_commit=refuse),
        return_exceptions=True,
    )
    await asyncio.sleep(0)
    gate.open()
    done, refused = await asked
    assert done is None
    assert isinstance(refused, Unavailable)
    assert await names(database) == ["good"]
    with pytest.raises(Unavailable, match="too old"):
        await database.write(lambda conn: put(conn, "alone"), before_commit=refuse)
    assert await names(database) == ["good"]


async def test_at_the_bound_a_call_is_refused(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BOUND", 1)
    gate = Gate(database)
    await gate.closed()
    with pytest.raises(Overloaded):
        await database.read(lambda conn: None)
    gate.open()
    await gate.call
    await database.read(lambda conn: None)


async def test_closing_finishes_what_was_asked(database: Database) -> None:
    calls = [asyncio.ensure_future(database.write(partial(put, name=str(n)))) for n in range(5)]
    await asyncio.sleep(0)
    await database.close()
    assert await asyncio.gather(*calls) == [None] * 5
    await database.close()
    with pytest.raises(Unavailable, match="closed"):
        await database.read(lambda conn: None)


async def test_an_error_carries_no_values(database: Database) -> None:
    def wrong(conn: Connection) -> None:
        conn.exec_driver_sql("INSERT INTO nowhere VALUES (?)", ("secret",))

    with pytest.raises(TacoError) as caught:
        await database.write(wrong)
    assert "secret" not in str(caught.value)
    assert caught.value.code == "internal"


async def test_a_loop_that_never_rests_does_not_shut_the_threads_out(
    tmp_path: Path,
) -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(0.005)  # Python's default
    database = await Database.open(f"sqlite:///{tmp_path / 'x.sqlite'}", "messages")
    try:
        assert sys.getswitchinterval() <= 0.0005
    finally:
        sys.setswitchinterval(before)
        await database.close()


async def test_a_server_that_was_never_seen_is_looked_at_once_for_all_who_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each would wait for the looks of all before it, as long as a silent server takes for each."""
    store = await Database.open(f"sqlite:///{tmp_path}/s.sqlite", "messages", deadline_s=0.2)
    looks, silent = 0, threading.Event()

    def look(_: Connection) -> None:
        nonlocal looks
        looks += 1
        silent.wait(20)

    store._unseen = look
    try:
        answers = await asyncio.gather(*(store.write(lambda conn: conn) for _ in range(50)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {Unavailable}, "not one of the calls themselves was made"
        assert looks == 1
        silent.set()
        assert await store.read(lambda conn: conn.exec_driver_sql("SELECT 1").scalar_one(), deadline_s=20.0) == 1
    finally:
        silent.set()
        await store.close()
