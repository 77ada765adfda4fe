"""Partitions by day of the tables that grow with every message, so that old days are dropped whole: a row deleted by itself costs as much
as it did to insert.

Ids begin with their time, so a day is a range of ids. Days to come are made ahead; ids beyond them go to the partition `later`. A day is
dropped when all of it is past retention and nothing in it is open. One with something open stays, and is pruned row by row.

Every program with a sweep may call `tend`; one at a time does anything, and never for long: a lock that is not free at once is left for the
next call.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import structlog
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from push_core.clock import WallMs
from push_core.ids import MAX_ID, first_id_at, time_of
from push_core.sql.acceptance import TO_EXPAND
from push_core.sql.mysql.errors import LOCK_NOT_FREE
from push_core.sql.mysql.locks import lock_name
from push_core.sql.states import OPEN_BELOW

log = structlog.get_logger(__name__)
TABLES = {"messages": f"expansion = {TO_EXPAND}", "deliveries": f"state < {OPEN_BELOW}"}  # and what is open in each
LATER = "later"
LOCK_WAIT_S = 1  # a change of partitions waits for transactions to end, and everybody else waits behind it
SEARCH_S = 1.0  # how long one call looks for what is open in a day
LARGEST_MOVE = 10_000  # rows that a call will move out of `later`; `taco db upgrade` moves any number
_SLICE_MS = 1_000  # of a day, looked through at once; as much more as goes within a tenth of SEARCH_S

Range = tuple[int, int]  # ids: first, last


class Partition(NamedTuple):
    """Ids from `first` up to but not including `end`."""

    name: str
    first: int
    end: int


class Partitions:
    """Of one message store; keeps how far old days were looked through."""

    def __init__(self, days_ahead: int) -> None:
        self._days_ahead = days_ahead
        self._searched: dict[int, int] = {}  # end of a day → next id to look at
        self._open: set[int] = set()  # ends of days with something open in them

    def tend(self, conn: Connection, before_id: int) -> list[Range]:
        """Make days to come, drop old ones; the ranges of ids below `before_id` whose ended messages are to be removed row by row."""
        if not self._days_ahead:
            return [(0, before_id - 1)]
        conn.exec_driver_sql(f"SET SESSION lock_wait_timeout = {LOCK_WAIT_S}")
        days = partitions_of(conn, "deliveries")
        if not days:
            return [(0, before_id - 1)]
        with _turn(conn) as mine:
            if mine:
                try:
                    make_ahead(conn, self._days_ahead, LARGEST_MOVE)
                    self._drop_old(conn, before_id)
                except DBAPIError as error:
                    if error.orig is None or error.orig.args[0] != LOCK_NOT_FREE:
                        raise
                    log.info("the tables were busy, partitions are tended next time")
        return self._by_row(days, before_id)

    def _by_row(self, days: Sequence[Partition], before_id: int) -> list[Range]:
        return [
            (day.first, min(day.end, before_id) - 1)
            for day in days
            if day.first < before_id and (day.name == LATER or day.end in self._open)
        ]

    def _drop_old(self, conn: Connection, before_id: int) -> None:
        until = time.monotonic() + SEARCH_S
        there = {table: partitions_of(conn, table) for table in TABLES}
        ends = {day.end for days in there.values() for day in days}
        self._searched = {end: at for end, at in self._searched.items() if end in ends}
        self._open &= ends
        for table, days in there.items():
            for day in days:
                if day.name == LATER or day.end > before_id:
                    break
                nothing_open = self._nothing_open(conn, day, until)
                if nothing_open is None:
                    break  # go on next time
                if nothing_open:
                    conn.exec_driver_sql(f"ALTER TABLE {table} DROP PARTITION {day.name}")
                    log.info("day dropped", table=table, until=_day(time_of(day.end)).isoformat())

    def _nothing_open(self, conn: Connection, day: Partition, until: float) -> bool | None:
        """None: not known yet. What was searched stays so: nothing that has ended opens again."""
        at = self._searched.get(day.end, day.first)
        self._open.discard(day.end)
        size = _SLICE_MS
        while at < day.end:
            if time.monotonic() >= until:
                self._searched[day.end] = at
                return None
            began = time.monotonic()
            end = min(day.end, first_id_at(time_of(max(at, _first_of(conn, at, day.end))) + size))
            if _any_open(conn, at, end):
                self._searched[day.end] = at
                self._open.add(day.end)
                return False
            at = end
            size = size * 2 if time.monotonic() - began < SEARCH_S / 10 else max(size // 2, 1)
        self._searched[day.end] = at
        return True


def partitions_of(conn: Connection, table: str) -> list[Partition]:
    """In order; none for a table that has no partitions."""
    rows = conn.execute(
        text(
            "SELECT partition_name, partition_description FROM information_schema.partitions WHERE table_schema = DATABASE()"
            " AND table_name = :table AND partition_name IS NOT NULL ORDER BY partition_ordinal_position"
        ),
        {"table": table},
    )
    found: list[Partition] = []
    for name, end in rows:
        first = found[-1].end if found else 0
        found.append(Partition(name, first, MAX_ID + 1 if end == "MAXVALUE" else int(end)))
    return found


def make_ahead(conn: Connection, days_ahead: int, largest_move: int | None = None) -> None:
    """See that today and so many days after it have partitions of their own. Beyond `largest_move` rows in `later` nothing is done but
    said, since moving them keeps everybody from the table."""
    now = int(conn.exec_driver_sql("SELECT UNIX_TIMESTAMP()").scalar_one()) * 1_000
    for table in TABLES:
        days = partitions_of(conn, table)
        if not days or days[-1].name != LATER:
            continue
        ends = [end for end in ends_of_days(now, days_ahead) if end > days[-1].first]
        if not ends:
            continue
        if largest_move is not None:
            count = f"SELECT COUNT(*) FROM (SELECT 1 FROM {table} PARTITION ({LATER}) LIMIT {largest_move + 1}) p"  # noqa: S608
            if conn.exec_driver_sql(count).scalar_one() > largest_move:
                log.warning(
                    "partitions of days were not made for a while: run `taco db upgrade` at a quiet hour", table=table
                )
                continue
        made = ", ".join(f"PARTITION {_name(end)} VALUES LESS THAN ({end})" for end in ends)
        conn.exec_driver_sql(
            f"ALTER TABLE {table} REORGANIZE PARTITION {LATER} INTO ({made}, PARTITION {LATER} VALUES LESS THAN MAXVALUE)"
        )
        log.info("days made ahead", table=table, until=_day(time_of(ends[-1])).isoformat())


def ends_of_days(now: WallMs, days_ahead: int) -> list[int]:
    """The first id after today, and after each of so many days that follow (UTC)."""
    today = _day(now)
    return [first_id_at(int((today + timedelta(days=n)).timestamp() * 1_000)) for n in range(1, days_ahead + 2)]


def _day(at: WallMs) -> datetime:
    return datetime.fromtimestamp(at / 1_000, tz=UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _name(end: int) -> str:
    return f"d{_day(time_of(end) - 1):%Y%m%d}"


def _first_of(conn: Connection, first: int, end: int) -> int:
    """The lowest id of the range that is there: so a stretch without rows is stepped over."""
    lowest = [
        conn.exec_driver_sql(f"SELECT MIN(id) FROM {table} WHERE id >= {first:d} AND id < {end:d}").scalar()  # noqa: S608
        for table in TABLES
    ]
    return min((one for one in lowest if one is not None), default=end - 1)


def _any_open(conn: Connection, first: int, end: int) -> bool:
    return any(
        conn.exec_driver_sql(
            f"SELECT 1 FROM {table} WHERE id >= {first:d} AND id < {end:d} AND {is_open} LIMIT 1"  # noqa: S608
        ).first()
        for table, is_open in TABLES.items()
    )


@contextmanager
def _turn(conn: Connection) -> Iterator[bool]:
    """Whether nobody else is at it."""
    name = lock_name(conn, "partitions")
    mine = conn.execute(text("SELECT GET_LOCK(:name, 0)"), {"name": name}).scalar() == 1
    try:
        yield mine
    finally:
        if mine:
            conn.execute(text("SELECT RELEASE_LOCK(:name)"), {"name": name})
