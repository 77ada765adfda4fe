"""MySQL's and MariaDB's forms of statements over many rows; `conn.dialect.is_mariadb` tells the two apart where they differ.

Values are written into the text (`literals.py`), as the driver would do, at a third of its price. What was measured with MariaDB 10.11
(server CPU for each of 256 rows of `deliveries`; bench/README.md):

- by key: `(a, b) IN ((…), …)` reads ranges of the index: 4 µs. A join with a list of values costs 7 and more.
- a guarded UPDATE by a join with a list of values: 14 µs, since a joined UPDATE writes a temporary table first and goes over it again.
  `INSERT … ON DUPLICATE KEY UPDATE` whose every assignment is guarded: 8 µs. It would insert what is not there, so it is taken only where
  the caller can undo that (`InPlace`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, TextClause, text

from push_core.errors import TacoError
from push_core.sql.forms import Arguments, Forms, InPlace, Lock, Row
from push_core.sql.mysql.literals import literal, rows_of

LARGEST = 512  # rows in a statement
LARGEST_BYTES = 4 << 20  # of payload, which is written as twice as much: below max_allowed_packet (16 MiB, MySQL 64)
_LOCK = {
    Lock.NONE: "",
    Lock.SHARE: " LOCK IN SHARE MODE",
    Lock.UPDATE: " FOR UPDATE",
    Lock.SKIP: " FOR UPDATE SKIP LOCKED",
}
_KEEP = {"new": "VALUES({0})", "least": "LEAST({0}, VALUES({0}))", "greatest": "GREATEST({0}, VALUES({0}))"}
_NAME = re.compile(r"\bv\.(\w+)")


class MysqlForms(Forms):
    def insert_ignore(self, conn: Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> int:
        inserted = 0
        for part in parts(rows):
            result = conn.exec_driver_sql(f"INSERT IGNORE INTO {table} ({','.join(columns)}) VALUES {rows_of(part)}")  # noqa: S608
            inserted += result.rowcount
            # IGNORE is about keys that are there; it would also cut what is too long and make a warning of it.
            if result.context.cursor.warning_count != len(part) - result.rowcount:
                raise TacoError(f"a value does not fit its column in {table}: nothing was written")
        return inserted

    def upsert(
        self,
        conn: Connection,
        table: str,
        columns: tuple[str, ...],
        rows: Sequence[Row],
        key: tuple[str, ...],  # noqa: ARG002
        keep: Mapping[str, str],
    ) -> None:
        sets = ", ".join(f"{column} = " + _KEEP[way].format(column) for column, way in keep.items())
        for part in parts(rows):
            conn.exec_driver_sql(
                f"INSERT INTO {table} ({','.join(columns)}) VALUES {rows_of(part)} ON DUPLICATE KEY UPDATE {sets}"  # noqa: S608
            )

    def update(
        self,
        conn: Connection,
        table: str,
        key: tuple[str, ...],
        names: tuple[str, ...],
        sets: Mapping[str, str],
        guard: str,
        rows: Sequence[Row],
        in_place: InPlace | None,
    ) -> int:
        if in_place is not None:
            return sum(_update_in_place(conn, table, key, names, sets, guard, part, in_place) for part in parts(rows))
        same = " AND ".join(f"{table}.{column} = v.{column}" for column in key)
        changes = ", ".join(f"{table}.{column} = {value}" for column, value in sets.items())
        where = f" WHERE {guard}" if guard else ""
        return sum(
            conn.exec_driver_sql(
                f"UPDATE (WITH w({','.join(key + names)}) AS ({_values(conn, part)}) SELECT * FROM w) v"  # noqa: S608
                f" STRAIGHT_JOIN {table} ON {same} SET {changes}{where}"
            ).rowcount
            for part in parts(rows)
        )

    def delete(self, conn: Connection, table: str, key: tuple[str, ...], keys: Sequence[Row]) -> int:
        return sum(
            conn.exec_driver_sql(f"DELETE FROM {table} WHERE {_among(key, part)}").rowcount  # noqa: S608
            for part in parts(keys)
        )

    def delete_found(
        self, conn: Connection, table: str, key: tuple[str, ...], select: str, arguments: Mapping[str, Any]
    ) -> int:
        same = " AND ".join(f"{table}.{column} = f.{column}" for column in key)
        statement = f"DELETE {table} FROM ({select}) f STRAIGHT_JOIN {table} ON {same}"
        return conn.execute(_text(statement), arguments).rowcount

    def select(
        self,
        conn: Connection,
        columns: str,
        table: str,
        key: tuple[str, ...],
        keys: Sequence[Row],
        tail: str,
        lock: Lock,
    ) -> list[Any]:
        found: list[Any] = []
        for part in parts(keys):
            found.extend(
                _rows(conn, f"SELECT {columns} FROM {table} WHERE {_among(key, part)} {tail}{_LOCK[lock]}")  # noqa: S608
            )
        return found

    def select_joined(
        self,
        conn: Connection,
        names: tuple[str, ...],
        rows: Sequence[Row],
        text: str,
        columns: tuple[str, ...],  # noqa: ARG002
        arguments: Sequence[Any],
    ) -> list[Any]:
        asked = _with(text, arguments)
        found: list[Any] = []
        for part in parts(rows):
            found.extend(_rows(conn, f"WITH v({','.join(names)}) AS ({_values(conn, part)}) {asked}"))
        return found

    def fetch(
        self,
        conn: Connection,
        select: str,
        names: tuple[str, ...],  # noqa: ARG002
        arguments: Arguments,
        lock: Lock,
    ) -> list[tuple[Any, ...]]:
        if isinstance(arguments, Mapping):
            return list(map(tuple, conn.execute(_text(select + _LOCK[lock]), arguments)))
        return _rows(conn, _with(select, arguments) + _LOCK[lock])

    def snapshot(self, conn: Connection) -> None:
        conn.exec_driver_sql("START TRANSACTION WITH CONSISTENT SNAPSHOT")


def parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in order, cut at the largest size of a statement, by rows and by bytes."""
    if not rows:
        return
    if len(rows) <= LARGEST and not any(type(value) is bytes for value in rows[0]):
        yield rows
        return
    start = size = 0
    for place, row in enumerate(rows):
        payload = _payload(row)
        if place - start == LARGEST or (size + payload > LARGEST_BYTES and place > start):
            yield rows[start:place]
            start, size = place, 0
        size += payload
    yield rows[start:]


def _payload(row: Row) -> int:
    return sum(len(value) for value in row if type(value) is bytes)


def _update_in_place(
    conn: Connection,
    table: str,
    key: tuple[str, ...],
    names: tuple[str, ...],
    sets: Mapping[str, str],
    guard: str,
    rows: Sequence[Row],
    way: InPlace,
) -> int:
    """Values that all rows share are written once, into the assignments: of what an ack costs the server, most is reading its text."""
    first, width = rows[0], len(key)
    kept, stands_for = list(range(width)), []
    for place, name in enumerate(names, width):
        if name not in way.needed and all(row[place] == first[place] for row in rows):
            stands_for.append((name, literal(first[place])))
        else:
            kept.append(place)
            stands_for.append((name, f"VALUES({way.carriers[name]})"))
    columns = ",".join([*key, *(way.carriers[name] for name in names)][place] for place in kept)
    values = rows_of(rows if len(kept) == len(first) else [[row[place] for place in kept] for row in rows])
    same = [f"{table}.{column} = VALUES({column})" for column in key if column not in way.unique]
    guards = " AND ".join([*same, guard] if guard else same)
    tail = _assignments(table, tuple(sets.items()), guards, tuple(stands_for))
    found = conn.exec_driver_sql(
        f"INSERT INTO {table} ({columns}) VALUES {values} ON DUPLICATE KEY UPDATE {tail}"  # noqa: S608
    ).rowcount
    # The server counts 1 for a row that was inserted or left as it was, 2 for one that was changed (CLIENT.FOUND_ROWS is set).
    return found - len(rows)


@lru_cache(maxsize=512)
def _assignments(
    table: str, sets: tuple[tuple[str, str], ...], guard: str, stands_for: tuple[tuple[str, str], ...]
) -> str:
    meaning = dict(stands_for)
    return ", ".join(
        f"{column} = IF({guard}, {_NAME.sub(lambda found: meaning[found[1]], value)}, {table}.{column})"
        for column, value in sets
    )


def _among(key: tuple[str, ...], keys: Sequence[Row]) -> str:
    if len(keys) == 1:  # MariaDB reads the whole table to delete by `(a, b) IN ((…))` with one key
        return " AND ".join(f"{column} = {literal(value)}" for column, value in zip(key, keys[0], strict=True))
    if len(key) == 1:
        return f"{key[0]} IN ({','.join([literal(value) for (value,) in keys])})"
    return f"({','.join(key)}) IN ({rows_of(keys)})"


def _values(conn: Connection, rows: Sequence[Row]) -> str:
    if conn.dialect.is_mariadb:  # type: ignore[attr-defined]
        return f"VALUES {rows_of(rows)}"
    return f"VALUES {rows_of(rows, 'ROW')}"


def _with(statement: str, arguments: Sequence[Any]) -> str:
    """The statement with its placeholders (`?`) replaced."""
    pieces = statement.split("?")
    filled = [piece + literal(value) for piece, value in zip(pieces[:-1], arguments, strict=True)]
    return "".join((*filled, pieces[-1]))


def _rows(conn: Connection, statement: str) -> list[tuple[Any, ...]]:
    result = conn.exec_driver_sql(statement)
    rows: list[tuple[Any, ...]] = list(
        result.context.cursor.fetchall()
    )  # no result processors: what the driver made is what we take
    result.close()
    return rows


@lru_cache(maxsize=128)
def _text(statement: str) -> TextClause:
    return text(statement)
