"""Statements over many rows on MariaDB: values survive as they are, counts are exact, and no table is read whole."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from push_core.lifecycle import Reason, State
from push_core.messages.port import InboxAsk, Later, Task
from push_core.messages.sql import SqlMessages
from push_core.sql import bulk
from push_core.sql.database import Database
from push_core.sql.forms import Lock
from push_core.sql.mysql import forms
from push_core.sql.mysql.literals import literal, rows_of
from push_core.sql.rows import fetch
from tests.contracts.messages_support import APP, NOW, envelope, moves, new, waits
from tests.support.maria import Tables, connect

HARD = [
    "",
    "'",
    "\\",
    "\\'",
    "'; DROP TABLE x; --",
    "%s %d %",
    ":name ?",
    "x ",
    "X",
    "\0\n\r\x1a",
    "😀é",
    "\\u0027",
    "a\tb",
]


@pytest.fixture
async def database(maria_tables: Tables) -> AsyncIterator[Database]:
    maria_tables.empty()
    database = await Database.open(maria_tables.dsn, "messages", writers=1, readers=1)
    yield database
    await database.close()


async def test_names_survive_every_form_and_compare_byte_by_byte(database: Database) -> None:
    rows = [(name, place) for place, name in enumerate(HARD)]

    def work(conn: Connection) -> None:
        columns, key = ("name", "place"), ("name",)
        assert bulk.insert_ignore(conn, "cursors", columns, rows) == len(rows)
        assert bulk.insert_ignore(conn, "cursors", columns, [*rows, ("new", 1)]) == 1
        assert sorted(bulk.select(conn, "name, place", "cursors", key, [(name,) for name in HARD])) == sorted(rows)
        bulk.upsert(conn, "cursors", columns, [(name, 100 + n) for name, n in rows], key=key, keep={"place": "new"})
        changed = bulk.update(conn, "cursors", key, ("to_place",), {"place": "v.to_place"}, "cursors.place > 103", rows)
        assert changed == len(rows) - 4
        found = bulk.select_joined(
            conn,
            ("n", "asked"),
            [(n, name) for name, n in rows],
            "SELECT v.n, c.place FROM v JOIN cursors c ON c.name = v.asked WHERE c.place < ?",
            ("n", "place"),
            (100,),
        )
        assert sorted(found) == [(n, n) for n in range(4, len(rows))]
        assert fetch(conn, "SELECT place FROM cursors WHERE name = ?", ("place",), ("x ",)) == [(7,)]
        assert fetch(conn, "SELECT place FROM cursors WHERE name = :name", ("place",), {"name": "%s %d %"}) == [(5,)]
        assert bulk.delete(conn, "cursors", key, [(name,) for name in HARD]) == len(rows)

    await database.write(work)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.text(st.characters(exclude_categories=["Cs"])), st.binary(), st.none(), st.integers(-(2**63), 2**63 - 1)
        ),
        min_size=1,
    )
)
def test_any_value_is_read_back_as_it_was_written(maria_tables: Tables, values: list[Any]) -> None:
    with connect(maria_tables.dsn) as plain, plain.cursor() as cursor:
        cursor.execute("SELECT " + ",".join(map(literal, values)))
        assert list(cursor.fetchall()[0]) == values
        names = ",".join(f"c{n}" for n in range(len(values)))
        cursor.execute(f"WITH v({names}) AS (VALUES {rows_of([values, values])}) SELECT * FROM v")
        assert len(cursor.fetchall()) == 2


async def test_a_type_that_no_column_has_is_refused() -> None:
    with pytest.raises(TypeError, match="no column holds float"):
        rows_of([(1.5,)])


async def test_more_rows_than_a_statement_takes_are_cut(database: Database) -> None:
    rows = [(f"c-{n}", n) for n in range(forms.LARGEST * 2 + 5)]

    def work(conn: Connection) -> None:
        assert bulk.insert_ignore(conn, "cursors", ("name", "place"), rows) == len(rows)
        assert bulk.update(conn, "cursors", ("name",), ("x",), {"place": "v.x"}, "", rows) == len(rows), (
            "found, not changed"
        )
        assert len(bulk.select(conn, "name", "cursors", ("name",), [row[:1] for row in rows], lock=Lock.UPDATE)) == len(
            rows
        )

    await database.write(work)


@given(st.lists(st.integers(0, 9_000), max_size=40))
def test_a_statement_is_cut_before_it_is_larger_than_the_server_takes(sizes: list[int]) -> None:
    rows = [(n, bytes(size)) for n, size in enumerate(sizes)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms, "LARGEST_BYTES", 4_000)
        cut = list(forms.parts(rows))
    assert [row for part in cut for row in part] == rows
    for part in cut:
        assert len(part) == 1 or sum(len(row[1]) for row in part) <= 4_000


async def test_an_update_in_place_counts_what_moved_and_nothing_else(database: Database) -> None:
    """Rows that are not there, of another app, or past the guard are not counted, whatever is the same in all of them."""
    store = SqlMessages(database)
    sent = [new(n, "d") for n in range(6)]
    await store.commit(sent, now=NOW)
    acks = [moves(item.envelope, "d", State.DELIVERED, stored=False, written_at=NOW) for item in sent]
    assert (await store.apply(acks[:2], now=NOW)).applied[0].value == "made"
    from push_core.sql import moves as sql

    def counted(*changes: Any) -> Any:
        def work(conn: Connection) -> int:
            conn.exec_driver_sql("SAVEPOINT x")
            count = sql._move(conn, changes)
            conn.exec_driver_sql("ROLLBACK TO SAVEPOINT x")
            return count

        return database.write(work)

    assert await counted(*acks[2:]) == 4
    assert await counted(*acks) == 4, "two were moved before"
    foreign = [moves(envelope(2, app="other"), "d", State.DELIVERED), moves(envelope(99), "d", State.DELIVERED)]
    assert await counted(acks[3], *foreign) == 1
    assert await counted(acks[2]) == 1
    far = [
        moves(item.envelope, f"d{n % 2}" if n else "d", State.EXPIRED, at=NOW + n, reason=Reason.TTL)
        for n, item in enumerate(sent)
    ]
    assert await counted(*far) == 0


async def test_no_statement_reads_a_whole_table(maria_tables: Tables, database: Database) -> None:
    """The server counts the rows that a connection read: a step of a few messages must not grow with what else is stored."""
    store = SqlMessages(database)
    crowd = [new(n, f"d-{n}", key=f"k-{n}", collapse="c") for n in range(10_000, 13_000)]
    for start in range(0, len(crowd), 500):
        part = crowd[start : start + 500]
        await store.commit(part, now=NOW, oldest_ms=10**12)
        later = [
            Later(id=i.envelope.id, app=APP, device=i.envelope.devices[0], task=Task.FALLBACK, due=NOW * 2)
            for i in part
        ]
        await store.apply(
            [waits(i.envelope, i.envelope.devices[0], later=w) for i, w in zip(part, later, strict=True)], now=NOW
        )
    with connect(maria_tables.dsn) as admin, admin.cursor() as cursor:
        cursor.execute("ANALYZE TABLE messages, deliveries, inbox, later, idempotency")

    def rows_read(conn: Connection) -> int:
        found = conn.exec_driver_sql("SHOW SESSION STATUS LIKE 'Handler_read%%'".replace("%%", "%")).all()
        return sum(int(value) for _, value in found)

    items = [new(n, "a", "b", key=f"k-{n}", collapse="c") for n in range(3)]
    ids = [item.envelope.id for item in items]
    rows = [Later(id=i, app=APP, device="b", task=Task.FALLBACK, due=NOW) for i in ids]
    steps: list[Any] = [
        lambda: store.commit(items, now=NOW),
        lambda: store.commit([*items, new(9, "a"), new(0, "z")], now=NOW),
        lambda: store.apply([waits(i.envelope, "b", later=w) for i, w in zip(items, rows, strict=True)], now=NOW),
        lambda: store.apply([moves(i.envelope, "a", State.DELIVERED, stored=False) for i in items], now=NOW),
        lambda: store.apply([moves(i.envelope, "a", State.CLICKED) for i in items], now=NOW),
        lambda: store.inbox([InboxAsk(APP, "b", 9), InboxAsk(APP, "d-10001", 9)], now=NOW),
        lambda: store.waiting([(APP, "a"), (APP, "b")]),
        lambda: store.standings([(i, APP, "a") for i in ids]),
        lambda: store.envelopes(ids),
        lambda: store.recalled(ids),
        lambda: store.get([(APP, ids[0])]),
        lambda: store.put_later([*rows, Later(id=ids[0], app=APP, device="", task=Task.REPUBLISH, due=NOW)]),
        lambda: store.take_later(now=NOW, hold_ms=5),
        lambda: store.drop_later(rows),
        lambda: store.open_between(ids[0], ids[-1]),
        lambda: store.recall([(APP, i) for i in ids], now=NOW),
        lambda: store.recalls_shown([("a", APP, ids[0])]),
        lambda: store.expire(now=NOW + 1),
        lambda: store.expanded([(i, APP, None) for i in ids], now=NOW),
        lambda: store.prune(envelope(99).id, limit=10),
    ]
    for place, step in enumerate(steps):
        before = [await ask(rows_read) for ask in (database.read, database.write)]
        await step()
        after = [await ask(rows_read) for ask in (database.read, database.write)]
        assert sum(after) - sum(before) < 400, place
