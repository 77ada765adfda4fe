"""Several writers of one server: each key and each number is one's alone, and nobody waits for ever."""

import asyncio
import threading
from collections.abc import Awaitable

import pytest
from sqlalchemy import Connection

from push_core.errors import TacoError, Unavailable
from push_core.ids import ISSUERS
from push_core.lifecycle import State
from push_core.messages.port import IDEMPOTENCY_MS, Commit, Later, Messages, Task
from push_core.messages.sql import SqlMessages
from push_core.sql import bulk
from push_core.sql.database import Database
from tests.contracts.messages_support import APP, NOW, envelope, moves, new, waits
from tests.support.maria import Tables, connect


@pytest.fixture
def dsn(maria_tables: Tables) -> str:
    maria_tables.empty()
    return maria_tables.dsn


async def programs(dsn: str, count: int = 3) -> list[SqlMessages]:
    return await asyncio.gather(*[SqlMessages.open(dsn) for _ in range(count)])


async def close(stores: list[SqlMessages]) -> None:
    for store in stores:
        await store.close()


@pytest.mark.parametrize("now", [NOW, NOW + IDEMPOTENCY_MS])
async def test_of_writers_with_one_key_the_first_is_done_and_the_others_replay(dsn: str, now: int) -> None:
    """Also when the key was used a day ago, and all of them find it run out."""
    stores = await programs(dsn)
    first = await stores[0].commit([new(900 + k, "a", key=f"k-{k}") for k in range(8)], now=NOW - IDEMPOTENCY_MS)
    assert {answer.outcome for answer in first} == {Commit.DONE}
    keys = [f"k-{k}" for k in range(16)]
    calls = [
        store.commit(
            [new(100 * n + k, "a", key=key, at=now) for k, key in enumerate(keys)][:: 1 - 2 * (n % 2)], now=now
        )
        for n, store in enumerate(stores)
    ]
    answers = await asyncio.gather(*calls)
    by_key: dict[str, list[tuple[Commit, int]]] = {key: [] for key in keys}
    for n, batch in enumerate(answers):
        for key, answer in zip(keys[:: 1 - 2 * (n % 2)], batch, strict=True):
            by_key[key].append((answer.outcome, answer.id))
    for key, outcomes in by_key.items():
        assert sorted(outcome.value for outcome, _ in outcomes) == ["done", "replay", "replay"], key
        assert len({message_id for _, message_id in outcomes}) == 1, key
    await close(stores)


async def test_no_two_programs_lease_one_number(dsn: str) -> None:
    stores = await programs(dsn)
    calls = [store.lease_issuer(f"holder-{n}", now=NOW, ttl_ms=60_000) for n in range(14) for store in stores]
    leases = await asyncio.gather(*calls)
    assert len({lease.issuer for lease in leases}) == len(calls) <= ISSUERS
    await close(stores)


async def test_later_work_is_given_to_one_taker_at_a_time(dsn: str) -> None:
    stores = await programs(dsn)
    sent = [new(n, "a") for n in range(60)]
    await stores[0].commit(sent, now=NOW)
    await stores[0].apply([waits(item.envelope, "a", later=due(item.envelope.id)) for item in sent], now=NOW)
    takes = await asyncio.gather(
        *[store.take_later(now=NOW, hold_ms=9_000, limit=25) for store in stores for _ in "ab"]
    )
    given = [row.id for rows in takes for row in rows]
    assert len(given) == len(set(given))
    left = await stores[0].take_later(now=NOW, hold_ms=9_000)
    assert {row.id for row in left} | set(given) == {item.envelope.id for item in sent}
    await close(stores)


async def test_acks_moves_and_recalls_of_the_same_messages_all_end_well(dsn: str) -> None:
    """Whoever comes first: each delivery is delivered or recalled, none has anything left that waits."""
    stores = await programs(dsn)
    sent = [new(n, f"d-{n % 7}", collapse=f"c-{n % 5}") for n in range(80)]
    await stores[0].commit(sent, now=NOW)
    envelopes = [item.envelope for item in sent]
    work: list[Awaitable[object]] = []
    for n, store in enumerate(stores):
        some = envelopes[n * 10 : n * 10 + 60][:: 1 - 2 * (n % 2)]
        work.append(store.apply([waits(e, e.devices[0]) for e in some], now=NOW))
        work.append(
            store.apply([moves(e, e.devices[0], State.DELIVERED, stored=bool(n % 2)) for e in some[:40]], now=NOW)
        )
        work.append(store.recall([(APP, e.id) for e in some[5:25]], now=NOW))
        work.append(store.expire(now=NOW + 1))
    await asyncio.gather(*work)
    await stores[0].apply([moves(e, e.devices[0], State.DELIVERED) for e in envelopes], now=NOW)
    standings = await stores[0].standings([(e.id, APP, e.devices[0]) for e in envelopes])
    assert all(one is not None and one.state not in (State.WAITING, State.ACCEPTED) for one in standings)
    assert not any(one.in_inbox for one in standings if one)
    await close(stores)


async def test_of_messages_with_one_collapse_key_stored_at_the_same_time_one_stays(dsn: str) -> None:
    stores = await programs(dsn)
    for turn in range(5):
        sent = [new(10 * turn + n, "d", collapse=f"c-{turn}") for n in range(3)]
        await stores[0].commit(sent, now=NOW)
        calls = [store.apply([waits(item.envelope, "d")], now=NOW) for store, item in zip(stores, sent, strict=True)]
        await asyncio.gather(*calls)
    assert await stores[0].waiting([(APP, "d")]) == [5]
    await close(stores)


async def test_two_that_wait_for_each_other_are_both_done(dsn: str) -> None:
    """The server undoes one of them, which is run again."""
    database, other = [await Database.open(dsn, "messages") for _ in "ab"]
    await database.write(lambda conn: bulk.insert_ignore(conn, "cursors", ("name", "place"), [("a", 0), ("b", 0)]))
    both = threading.Barrier(2)
    runs = []

    def crossing(first: str, then: str, conn: Connection) -> None:
        runs.append(first)
        conn.exec_driver_sql(f"UPDATE cursors SET place = place + 1 WHERE name = '{first}'")
        if runs.count(first) == 1:
            both.wait(5)
        conn.exec_driver_sql(f"UPDATE cursors SET place = place + 1 WHERE name = '{then}'")

    await asyncio.gather(
        database.write(lambda conn: crossing("a", "b", conn)), other.write(lambda conn: crossing("b", "a", conn))
    )
    places = await database.read(lambda conn: conn.exec_driver_sql("SELECT place FROM cursors").scalars().all())
    assert places == [2, 2]
    assert len(runs) == 3
    await database.close()
    await other.close()


async def test_a_row_that_somebody_holds_is_waited_for_and_then_nothing_was_done(dsn: str) -> None:
    store = await SqlMessages.open(dsn.replace("?", "?lock_wait_s=1&"))
    await store.commit([new(1, "a")], now=NOW)
    ack = [moves(envelope(1, "a"), "a", State.DELIVERED)]
    with connect(dsn) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT * FROM deliveries FOR UPDATE")
        with pytest.raises(Unavailable, match="a lock was not free in time"):
            await store.apply(ack, now=NOW)
        cursor.execute("COMMIT")
    assert (await store.apply(ack, now=NOW)).applied[0].value == "made"
    await store.close()


async def test_who_shares_a_transaction_with_one_that_waits_for_a_lock_is_done_without_it(dsn: str) -> None:
    store = await SqlMessages.open(dsn.replace("?", "?lock_wait_s=1&writers=1&"))
    await store.commit([new(1, "a"), new(2, "a")], now=NOW)
    busy, go_on = threading.Event(), threading.Event()

    def hold(_: Connection) -> None:
        busy.set()
        go_on.wait(5)

    with connect(dsn) as other, other.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute(f"SELECT * FROM deliveries WHERE id = {envelope(1).id} FOR UPDATE")
        first = asyncio.create_task(store._db.write(hold))
        await asyncio.to_thread(busy.wait, 5)
        acks = [[moves(envelope(n, "a"), "a", State.DELIVERED)] for n in (1, 2)]
        calls = [asyncio.create_task(store.apply(ack, now=NOW)) for ack in acks]
        await asyncio.sleep(0)
        go_on.set()
        answers = await asyncio.gather(first, *calls, return_exceptions=True)
        cursor.execute("COMMIT")
    assert isinstance(answers[1], Unavailable)
    assert not isinstance(answers[2], BaseException)
    await store.close()


async def test_what_does_not_fit_its_column_is_refused_whole(dsn: str) -> None:
    store: Messages = await SqlMessages.open(dsn)
    with pytest.raises(TacoError, match="does not fit"):
        await store.commit([new(1, "a"), new(2, "x" * 129)], now=NOW)
    assert await store.envelopes([envelope(1).id, envelope(2).id]) == [None, None]
    await store.close()


def due(message_id: int) -> Later:
    return Later(id=message_id, app=APP, device="a", task=Task.FALLBACK, due=NOW)
