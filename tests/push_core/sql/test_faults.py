"""What a crash, a full disk, a lock or a damaged file leave: all or nothing of a call, nothing lost that returned, a clear sentence."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Connection

from push_core.errors import ConfigError, Unavailable
from push_core.lifecycle import State
from push_core.messages.port import Applied
from push_core.messages.sql import SqlMessages
from push_core.sql.database import Database
from tests.contracts.messages_support import APP, NOW, envelope, moves, new, waits

ROOT = Path(__file__).parents[3]


def python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqlMessages]:
    store = await SqlMessages.open(f"sqlite:///{path}")
    yield store
    await store.close()


DIES_INSIDE = """
import asyncio, os, sys
from push_core.messages.sql import SqlMessages
from push_core.sql import acceptance, bulk, moves
from tests.contracts.messages_support import NOW, new, moves as change
from push_core.lifecycle import State

async def main(path, table, step):
    store = await SqlMessages.open(f"sqlite:///{path}")
    await store.commit([new(n, "a", "b", key=f"k-{n}") for n in range(20)], now=NOW)
    print("returned", flush=True)
    insert, update = bulk.insert_ignore, bulk.update
    def die_after(real):
        def statement(conn, name, *rest, **named):
            result = real(conn, name, *rest, **named)
            if name == table:
                os._exit(9)
            return result
        return statement
    bulk.insert_ignore, bulk.update = die_after(insert), die_after(update)
    if step == "commit":
        await store.commit([new(n, "a", "b", key=f"k-{n}") for n in range(100, 120)], now=NOW)
    else:
        await store.apply([change(new(n, "a").envelope, "a", State.DELIVERED, stored=False) for n in range(20)], now=NOW)

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.mark.parametrize(
    ("step", "table"),
    [("commit", "idempotency"), ("commit", "messages"), ("commit", "deliveries"), ("apply", "deliveries")],
)
async def test_a_process_that_dies_in_a_call_leaves_nothing_of_it_and_all_before(
    path: Path, step: str, table: str
) -> None:
    child = python(DIES_INSIDE, str(path), table, step)
    output, _ = await asyncio.to_thread(child.communicate)
    assert (child.returncode, output) == (9, "returned\n")
    store = await SqlMessages.open(f"sqlite:///{path}")
    before = [envelope(n, "a", "b") for n in range(20)]
    during = [envelope(n, "a", "b") for n in range(100, 120)]
    assert await store.envelopes([e.id for e in before]) == before
    assert await store.envelopes([e.id for e in during]) == [None] * 20
    standings = await store.standings([(e.id, APP, d) for e in before for d in ("a", "b")])
    assert {s and s.state for s in standings} == {State.ACCEPTED}
    answers = await store.commit([new(n, "a", "b", key=f"k-{n}") for n in range(100, 120)], now=NOW)
    assert {a.outcome.value for a in answers} == {"done"}, "the repeat is a first"
    await store.close()


KEEPS_COMMITTING = """
import asyncio, sys
from push_core.messages.sql import SqlMessages
from tests.contracts.messages_support import NOW, new, waits

async def main(path):
    store = await SqlMessages.open(f"sqlite:///{path}")
    async def one(start):
        for n in range(start, start + 100_000, 8):
            item = new(n, "a")
            await store.commit([item], now=NOW, oldest_ms=10**9)
            await store.apply([waits(item.envelope, "a")], now=NOW)
            print(n, flush=True)
    await asyncio.gather(*[one(start) for start in range(8)])

asyncio.run(main(*sys.argv[1:]))
"""


async def test_nothing_that_returned_is_lost_when_the_process_is_killed(path: Path) -> None:
    child = python(KEEPS_COMMITTING, str(path))
    assert child.stdout is not None
    returned = [int(await asyncio.to_thread(child.stdout.readline)) for _ in range(300)]
    child.kill()
    rest, _ = await asyncio.to_thread(child.communicate)
    returned += [int(line) for line in rest.splitlines(keepends=True) if line.endswith("\n")]
    store = await SqlMessages.open(f"sqlite:///{path}")
    standings = await store.standings([(envelope(n).id, APP, "a") for n in returned])
    for n, standing in zip(returned, standings, strict=True):
        assert standing is not None, n
        # An older one may have made room in the full inbox; it has ended then, and is not lost.
        assert standing.in_inbox or standing.state is State.UNDELIVERABLE, n
    await store.close()


FULL_DISK = """
import asyncio, resource, sys
from push_core.errors import Unavailable
from push_core.messages.port import Commit
from push_core.messages.sql import SqlMessages
from tests.contracts.messages_support import APP, NOW, new

async def main(path):
    store = await SqlMessages.open(f"sqlite:///{path}")
    big = [new(n, "a", push=b"x" * 20_000) for n in range(200)]
    (first,) = await store.commit([new(900, "a")], now=NOW)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    try:
        await store.commit(big, now=NOW)
    except Unavailable as error:
        print(error.message)
    small, = await store.get([(APP, big[0].envelope.id)])
    print(small)
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    print({answer.outcome for answer in await store.commit(big, now=NOW)} == {Commit.DONE})
    print(len([e for e in await store.envelopes([m.envelope.id for m in big] + [first.id]) if e]))
    await store.close()

asyncio.run(main(*sys.argv[1:]))
"""


async def test_a_full_disk_is_said_and_the_store_works_when_there_is_room(path: Path) -> None:
    child = python(FULL_DISK, str(path))
    output, _ = await asyncio.to_thread(child.communicate)
    message, seen, done, count = output.splitlines()
    assert "full" in message
    assert str(path) in message
    assert (seen, done, count) == ("None", "True", "201")
    assert child.returncode == 0


async def test_a_lock_held_by_another_process_is_answered_in_bounded_time(path: Path, store: SqlMessages) -> None:
    child = python(
        "import sqlite3, sys, time\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); time.sleep(60)",
        str(path),
    )
    assert child.stdout is not None
    assert await asyncio.to_thread(child.stdout.readline) == "held\n"
    began = time.monotonic()
    answers = await asyncio.gather(*[store.commit([new(n, "a")], now=NOW) for n in range(3)], return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert time.monotonic() - began < 10, "the bound is 5 s"
    assert await store.envelopes([1]) == [None], "reading goes on"
    child.send_signal(signal.SIGKILL)
    await asyncio.to_thread(child.communicate)
    (answer,) = await store.commit([new(0, "a")], now=NOW + 1)
    assert answer.outcome.value == "done"


async def test_a_read_only_file_is_said(path: Path, store: SqlMessages) -> None:
    await store.close()
    other = await Database.open(f"sqlite:///{path}", "messages", readers=1)
    await other.write(lambda conn: conn.exec_driver_sql("PRAGMA query_only=ON").close())
    with pytest.raises(Unavailable, match="read only"):
        await SqlMessages(other).commit([new(1, "a")], now=NOW)
    await other.close()


def damage(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * (size // 4))


async def test_a_file_that_is_no_database_is_said(path: Path) -> None:
    await asyncio.to_thread(path.write_bytes, b"this is not a database" * 1_000)
    with pytest.raises(Unavailable, match="damaged or not a database"):
        await SqlMessages.open(f"sqlite:///{path}")


async def test_a_damaged_page_is_said(path: Path) -> None:
    store = await SqlMessages.open(f"sqlite:///{path}")
    await store.commit([new(n, *[f"device-{d}" for d in range(50)]) for n in range(100)], now=NOW)
    await store.close()
    damage(path)
    store = await SqlMessages.open(f"sqlite:///{path}")
    with pytest.raises(Unavailable, match="damaged"):
        await store.get([(APP, envelope(n).id) for n in range(100)])
    await store.close()


async def test_a_folder_that_cannot_be_made_is_a_fault_of_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be made"):
        await SqlMessages.open(f"sqlite:///{tmp_path / 'file' / 'store.sqlite'}")


@pytest.mark.parametrize("dsn", ["nonsense", "oracle://x/y", "sqlite://host/path", "sqlite:///x?mode=ro", ""])
async def test_a_dsn_that_is_not_served_is_a_fault_of_the_configuration(dsn: str) -> None:
    with pytest.raises(ConfigError):
        await SqlMessages.open(dsn)


async def test_a_caller_that_is_cancelled_takes_nothing_back(store: SqlMessages) -> None:
    calls = [asyncio.ensure_future(store.commit([new(n, "a")], now=NOW)) for n in range(10)]
    await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await store.commit([new(10, "a")], now=NOW)  # writes are done in the order they were asked for
    assert await store.envelopes([envelope(n).id for n in range(10)]) == [envelope(n, "a") for n in range(10)]


async def test_two_stores_may_share_a_file_and_see_each_others_writes(path: Path, store: SqlMessages) -> None:
    other = await SqlMessages.open(f"sqlite:///{path}")
    calls = [s.commit([new(2 * n + i, "a")], now=NOW) for n in range(20) for i, s in enumerate((store, other))]
    await asyncio.gather(*calls)
    (answer,) = (await other.apply([waits(envelope(0, "a"), "a")], now=NOW)).applied
    assert answer is Applied.MADE
    assert (await store.apply([moves(envelope(0, "a"), "a", State.DELIVERED)], now=NOW)).applied == [Applied.MADE]
    assert await other.waiting([(APP, "a")]) == [0]
    await other.close()


def pragma(conn: Connection, name: str) -> object:
    return conn.exec_driver_sql(f"PRAGMA {name}").scalar()


async def test_a_file_is_durable_as_promised(path: Path, store: SqlMessages) -> None:
    database = await Database.open(f"sqlite:///{path}", "messages", readers=1)
    for ask in (database.read, database.write):
        pragmas = {
            name: await ask(partial(pragma, name=name)) for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 0}
    await database.close()
    with sqlite3.connect(path) as conn:
        assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    conn.close()
