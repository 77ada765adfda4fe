"""Bulk statements: powers of two, exact counts, and never a scan of a table that grows."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, event

from push_core.lifecycle import State
from push_core.messages.port import InboxAsk, Later, Messages, Task
from push_core.messages.sql import SqlMessages
from push_core.sql import bulk
from push_core.sql.database import Database
from push_core.sql.sqlite import forms
from tests.contracts.messages_support import APP, NOW, envelope, moves, new, waits


@given(st.integers(0, 2_000))
def test_rows_are_cut_into_powers_of_two_in_order(count: int) -> None:
    rows = [(n,) for n in range(count)]
    cut = list(forms.parts(rows))
    assert [row for part in cut for row in part] == rows
    assert all(len(part) in {1, 2, 4, 8, 16, 32, 64, 128, 256} for part in cut)
    assert len(cut) <= count // forms.LARGEST + 8


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = await Database.open("sqlite://", "messages")
    yield database
    await database.close()


async def test_counts_are_those_of_rows_changed(database: Database) -> None:
    def work(conn: Connection) -> None:
        columns = ("name", "place")
        assert bulk.insert_ignore(conn, "cursors", columns, [(str(n), n) for n in range(300)]) == 300
        assert bulk.insert_ignore(conn, "cursors", columns, [(str(n), n) for n in range(290, 310)]) == 10
        rows = [(str(n), 7) for n in range(305, 315)]
        assert bulk.update(conn, "cursors", ("name",), ("to_place",), {"place": "v.to_place"}, "", rows) == 5
        assert bulk.update(conn, "cursors", ("name",), ("x",), {"place": "1"}, "cursors.place < 2", rows[:0]) == 0
        guarded = [(str(n), 0) for n in range(10)]
        assert bulk.update(conn, "cursors", ("name",), ("x",), {"place": "v.x"}, "cursors.place > 4", guarded) == 5
        assert bulk.delete(conn, "cursors", ("name",), [(str(n),) for n in range(305, 320)]) == 5
        assert len(bulk.select(conn, "name", "cursors", ("name",), [("3",), ("400",), ("304",)])) == 2

    await database.write(work)


async def test_an_upsert_keeps_what_it_is_told_to(database: Database) -> None:
    def work(conn: Connection) -> list[int]:
        places = []
        for keep, place in (("new", 5), ("least", 9), ("greatest", 7), ("greatest", 1), ("least", 2), ("new", 8)):
            bulk.upsert(conn, "cursors", ("name", "place"), [("x", place)], key=("name",), keep={"place": keep})
            places.append(conn.exec_driver_sql("SELECT place FROM cursors").scalar_one())
        return places

    assert await database.write(work) == [5, 5, 7, 7, 2, 8]


async def test_no_statement_of_the_hot_paths_reads_a_whole_table() -> None:
    store = await SqlMessages.open("sqlite://")
    database = store._db
    plans: dict[str, list[str]] = {}

    def explain(_conn: object, cursor: object, statement: str, parameters: object, *_rest: object) -> None:
        if statement.startswith(("SELECT", "UPDATE", "DELETE", "WITH", "INSERT")) and statement not in plans:
            cursor.execute("EXPLAIN QUERY PLAN " + statement, parameters)  # type: ignore[attr-defined]
            plans[statement] = [row[3] for row in cursor.fetchall()]  # type: ignore[attr-defined]

    event.listen(database._engine, "before_cursor_execute", explain)
    await _work_through(store)
    event.remove(database._engine, "before_cursor_execute", explain)
    await store.close()
    grows = ("messages", "deliveries", "inbox", "later", "idempotency", "w", "i", "d", "m")
    scans = [
        (step, statement)
        for statement, steps in plans.items()
        for step in steps
        # The derived tables d and m of `open_between` are pages, not tables.
        if step.startswith("SCAN ") and step.split()[1] in grows and "UNION ALL" not in statement
    ]
    assert scans == []
    assert len(plans) > 25


async def _work_through(store: Messages) -> None:
    items = [new(n, "a", "b", key=f"k-{n}", collapse="c") for n in range(3)]
    envelopes = [item.envelope for item in items]
    await store.commit(items, now=NOW)
    await store.commit([*items, new(9, "a"), new(0, "z")], now=NOW)
    later = [Later(id=e.id, app=APP, device="b", task=Task.FALLBACK, due=NOW) for e in envelopes]
    await store.apply([waits(e, "b", later=work) for e, work in zip(envelopes, later, strict=True)], now=NOW)
    await store.apply([moves(e, "a", State.DELIVERED, stored=False) for e in envelopes], now=NOW)
    await store.apply([moves(e, "a", State.CLICKED) for e in envelopes], now=NOW)
    await store.inbox([InboxAsk(APP, "b", 9)], now=NOW)
    await store.waiting([(APP, "a"), (APP, "b")])
    await store.standings([(e.id, APP, "a") for e in envelopes])
    await store.envelopes([e.id for e in envelopes])
    await store.recalled([e.id for e in envelopes])
    await store.get([(APP, envelopes[0].id)])
    await store.get([(APP, envelopes[0].id)], after="a")
    await store.put_later([*later, Later(id=envelopes[0].id, app=APP, device="", task=Task.REPUBLISH, due=NOW)])
    await store.take_later(now=NOW, hold_ms=5)
    await store.drop_later(later)
    await store.open_between(0, envelope(99).id)
    await store.recall([(APP, e.id) for e in envelopes], now=NOW)
    await store.recalls_shown([("a", APP, envelopes[0].id)])
    await store.expire(now=NOW * 2)
    await store.prune(envelope(99).id)
