"""Days are made ahead and dropped whole, by one program at a time, and never with something open in them."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from pymysql.cursors import Cursor

from ops.cluster.servers import MariaServer
from push_core.ids import first_id_at, time_of
from push_core.lifecycle import Reason, State
from push_core.messages.sql import SqlMessages
from push_core.sql.mysql import partitions
from push_core.sql.mysql.partitions import ends_of_days
from push_core.sql.upgrade import upgrade_store
from tests.contracts.messages_support import APP, envelope, moves, new, waits
from tests.support.maria import connect

DAY = 86_400_000
NAME = "partitions"


def midnight(at: int) -> int:
    return at - at % DAY


@pytest.fixture
def cursor(maria_server: MariaServer) -> Iterator[Cursor]:
    with connect(maria_server.dsn) as admin, admin.cursor() as made:
        made.execute(f"CREATE DATABASE {NAME}")
        admin.select_db(NAME)
        yield made
        made.execute(f"DROP DATABASE {NAME}")


@pytest.fixture
def dsn(cursor: Cursor, maria_server: MariaServer) -> str:
    dsn = maria_server.dsn_of(NAME)
    upgrade_store(dsn, "messages")
    return dsn


def days(cursor: Cursor, table: str = "deliveries") -> list[str]:
    cursor.execute(
        "SELECT partition_name FROM information_schema.partitions WHERE table_schema = DATABASE() AND table_name = %s"
        " ORDER BY partition_ordinal_position",
        (table,),
    )
    return [row[0] for row in cursor.fetchall()]


def now_of(cursor: Cursor) -> int:
    cursor.execute("SELECT UNIX_TIMESTAMP()")
    ((seconds,),) = cursor.fetchall()
    return int(seconds) * 1_000


def named(at: int) -> str:
    return f"d{datetime.fromtimestamp(at / 1_000, tz=UTC):%Y%m%d}"


def test_ends_of_days_are_first_ids_of_the_following_ones() -> None:
    ends = ends_of_days(1_790_000_000_000, 2)
    assert [time_of(end) for end in ends] == [midnight(1_790_000_000_000) + DAY * n for n in (1, 2, 3)]


def test_an_upgrade_makes_today_and_the_days_that_follow(cursor: Cursor, dsn: str) -> None:
    today = now_of(cursor)
    expected = [*(named(today + n * DAY) for n in range(9)), "later"]
    assert days(cursor, "messages") == days(cursor, "deliveries") == expected


async def test_days_past_retention_are_dropped_whole_and_days_to_come_are_made(cursor: Cursor, dsn: str) -> None:
    today = now_of(cursor)
    store = await SqlMessages.open(dsn + "?partition_days=11")
    at = today + DAY
    await store.commit([new(1, "a", at=at), new(2, "a", at=at + DAY)], now=at, oldest_ms=10**12)
    await store.apply([moves(envelope(n, at=at + (n - 1) * DAY), "a", State.DELIVERED) for n in (1, 2)], now=at)
    await store.prune(first_id_at(midnight(today) + 2 * DAY))
    assert days(cursor) == [*(named(today + n * DAY) for n in range(2, 12)), "later"]
    assert days(cursor, "messages") == days(cursor)
    assert await store.envelopes([envelope(1, at=at).id, envelope(2, at=at + DAY).id]) == [
        None,
        new(2, "a", at=at + DAY).envelope,
    ]
    await store.close()


async def test_a_day_that_is_not_over_is_kept_whole(cursor: Cursor, dsn: str) -> None:
    today = now_of(cursor)
    store = await SqlMessages.open(dsn)
    await store.commit([new(1, "a", at=today)], now=today, oldest_ms=10**12)
    await store.apply([moves(envelope(1, at=today), "a", State.DELIVERED)], now=today)
    assert await store.prune(envelope(1, at=today).id + 1) == 0
    assert len(days(cursor)) == 10
    await store.close()


async def test_a_day_with_something_open_is_pruned_row_by_row_until_it_has_ended(cursor: Cursor, dsn: str) -> None:
    today = now_of(cursor)
    store = await SqlMessages.open(dsn)
    await store.commit([new(n, "a", at=today) for n in (1, 2)], now=today, oldest_ms=10**12)
    done, waiting = (envelope(n, "a", at=today) for n in (1, 2))
    await store.apply([moves(done, "a", State.DELIVERED), waits(waiting, "a")], now=today)
    tomorrow = first_id_at(midnight(today) + DAY)
    await store.prune(tomorrow)
    assert days(cursor)[0] == named(today)
    assert await store.envelopes([done.id, waiting.id]) == [None, waiting]
    assert await store.waiting([(APP, "a")]) == [1]
    await store.apply([moves(waiting, "a", State.EXPIRED, reason=Reason.TTL)], now=today)
    await store.prune(tomorrow)
    assert days(cursor)[0] == named(today + DAY)
    await store.close()


async def test_a_message_that_was_never_expanded_keeps_its_day(cursor: Cursor, dsn: str) -> None:
    today = now_of(cursor)
    store = await SqlMessages.open(dsn)
    await store.commit([new(1, alias="u", at=today)], now=today, oldest_ms=10**12)
    await store.prune(first_id_at(midnight(today) + DAY))
    assert days(cursor)[0] == named(today)
    await store.close()


async def test_several_programs_tend_them_at_the_same_time(cursor: Cursor, dsn: str) -> None:
    today = now_of(cursor)
    stores = await asyncio.gather(*[SqlMessages.open(dsn + "?partition_days=20") for _ in range(3)])
    before = first_id_at(midnight(today) + 3 * DAY)
    for _ in range(2):
        await asyncio.gather(*[store.prune(before) for store in stores])
    assert days(cursor) == [*(named(today + n * DAY) for n in range(3, 21)), "later"]
    for store in stores:
        await store.close()


async def test_a_table_that_somebody_holds_is_left_for_the_next_time(cursor: Cursor, dsn: str) -> None:
    today = now_of(cursor)
    store = await SqlMessages.open(dsn)
    with connect(dsn) as other, other.cursor() as holding:
        holding.execute("BEGIN")
        holding.execute("SELECT COUNT(*) FROM messages")
        await store.prune(first_id_at(midnight(today) + DAY))
        assert len(days(cursor)) == 10
    await store.prune(first_id_at(midnight(today) + DAY))
    assert len(days(cursor)) == 9
    await store.close()


async def test_a_long_day_is_looked_through_a_bit_at_a_time(
    cursor: Cursor, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "SEARCH_S", 0.0)
    today = now_of(cursor)
    store = await SqlMessages.open(dsn)
    await store.commit([new(n, "a", at=midnight(today) + n * 60_000) for n in range(20)], now=today, oldest_ms=10**12)
    acks = [moves(envelope(n, at=midnight(today) + n * 60_000), "a", State.DELIVERED) for n in range(20)]
    await store.apply(acks, now=today)
    await store.prune(first_id_at(midnight(today) + DAY))
    assert len(days(cursor)) == 10, "not known yet"
    monkeypatch.setattr(partitions, "SEARCH_S", 1.0)
    await store.prune(first_id_at(midnight(today) + DAY))
    assert len(days(cursor)) == 9
    await store.close()


async def test_tables_without_partitions_are_pruned_row_by_row(cursor: Cursor, dsn: str) -> None:
    for table in ("messages", "deliveries"):
        cursor.execute(f"ALTER TABLE {table} REMOVE PARTITIONING")
    today = now_of(cursor)
    store = await SqlMessages.open(dsn)
    await store.commit([new(1, "a", at=today)], now=today, oldest_ms=10**12)
    await store.apply([moves(envelope(1, at=today), "a", State.DELIVERED)], now=today)
    assert await store.prune(envelope(1, at=today).id + 1) == 1
    await store.close()


async def test_keys_of_dropped_days_are_counted_so_that_the_sweep_goes_on(cursor: Cursor, dsn: str) -> None:
    today = now_of(cursor)
    store = await SqlMessages.open(dsn)
    old = today - 3 * DAY
    await store.commit([new(n, "a", key=f"k-{n}", at=old) for n in range(5)], now=old, oldest_ms=10**12)
    before = first_id_at(today - DAY)
    assert [await store.prune(before, limit=3) for _ in range(3)] == [3, 2, 0]
    await store.close()
