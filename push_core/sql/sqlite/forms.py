"""SQLite's forms of statements over many rows.

Why one statement of many rows rather than `executemany`: the driver gives up the interpreter's lock for each row it steps through, and
taking it back from a busy event loop can cost milliseconds each. Reading is the same: Python's sqlite3 gives up the lock for every row it
fetches, and an inbox read of 2,000 rows, 13 ms of work, took seconds. So a result is packed into one JSON value and handed over as a
single row.

Rows are cut into powers of two, so that a batch of any size uses a handful of statements and the driver's cache keeps all of them prepared.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from push_core.sql.forms import Arguments, Forms, InPlace, Lock, Row

LARGEST = 256  # rows in a statement: × 8 columns stays far below SQLite's 32,766 parameters
BYTES = frozenset({"envelope", "push", "digest", "body", "counted"})  # JSON has no bytes: these travel in hex
_rows = msgspec.json.Decoder(list[tuple[Any, ...]])


class SqliteForms(Forms):
    def insert_ignore(self, conn: Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> int:
        return sum(
            conn.exec_driver_sql(_insert(table, columns, len(part)) + " ON CONFLICT DO NOTHING", _flat(part)).rowcount
            for part in parts(rows)
        )

    def upsert(
        self,
        conn: Connection,
        table: str,
        columns: tuple[str, ...],
        rows: Sequence[Row],
        key: tuple[str, ...],
        keep: Mapping[str, str],
    ) -> None:
        tail = _on_conflict(key, tuple(keep.items()))
        for part in parts(rows):
            conn.exec_driver_sql(_insert(table, columns, len(part)) + tail, _flat(part))

    def update(
        self,
        conn: Connection,
        table: str,
        key: tuple[str, ...],
        names: tuple[str, ...],
        sets: Mapping[str, str],
        guard: str,
        rows: Sequence[Row],
        in_place: InPlace | None,  # noqa: ARG002
    ) -> int:
        changes = tuple(sets.items())
        return sum(
            conn.exec_driver_sql(_update(table, key, names, changes, guard, len(part)), _flat(part)).rowcount
            for part in parts(rows)
        )

    def delete(self, conn: Connection, table: str, key: tuple[str, ...], keys: Sequence[Row]) -> int:
        return sum(conn.exec_driver_sql(_delete(table, key, len(part)), _flat(part)).rowcount for part in parts(keys))

    def delete_found(
        self, conn: Connection, table: str, key: tuple[str, ...], select: str, arguments: Mapping[str, Any]
    ) -> int:
        statement = f"DELETE FROM {table} WHERE ({','.join(key)}) IN (SELECT {','.join(key)} FROM ({select}) f)"  # noqa: S608
        return conn.execute(text(statement), arguments).rowcount

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
        names = _names_of(columns)
        found: list[Any] = []
        for part in parts(keys):
            found.extend(self.fetch(conn, _select(columns, table, key, tail, len(part)), names, _flat(part), lock))
        return found

    def select_joined(
        self,
        conn: Connection,
        names: tuple[str, ...],
        rows: Sequence[Row],
        text: str,
        columns: tuple[str, ...],
        arguments: Sequence[Any],
    ) -> list[Any]:
        found: list[Any] = []
        for part in parts(rows):
            statement = f"WITH {_values(names, len(part))} {text}"
            found.extend(self.fetch(conn, statement, columns, (*_flat(part), *arguments), Lock.NONE))
        return found

    def fetch(
        self,
        conn: Connection,
        select: str,
        names: tuple[str, ...],
        arguments: Arguments,
        lock: Lock,  # noqa: ARG002
    ) -> list[tuple[Any, ...]]:
        packed = _packed(select, names)
        if isinstance(arguments, Mapping):
            value = conn.execute(text(packed), arguments).scalar_one()
        else:
            value = conn.exec_driver_sql(packed, tuple(arguments)).scalar_one()
        rows = _rows.decode(value)
        for place, name in enumerate(names):
            if name in BYTES:
                rows = [
                    (*row[:place], None if row[place] is None else bytes.fromhex(row[place]), *row[place + 1 :])
                    for row in rows
                ]
        return rows

    def snapshot(self, conn: Connection) -> None:
        """Every transaction is one."""


def parts(rows: Sequence[Row]) -> Iterator[Sequence[Row]]:
    """The rows in order, cut into powers of two."""
    start, left = 0, len(rows)
    while left:
        size = min(LARGEST, 1 << (left.bit_length() - 1))
        yield rows[start : start + size]
        start += size
        left -= size


def _flat(rows: Sequence[Row]) -> tuple[Any, ...]:
    return tuple(chain.from_iterable(rows))


@lru_cache(maxsize=1_024)
def _packed(select: str, names: tuple[str, ...]) -> str:
    fields = ",".join(f"CASE WHEN {n} IS NOT NULL THEN hex({n}) END" if n in BYTES else n for n in names)
    return f"SELECT json_group_array(json_array({fields})) FROM ({select})"  # noqa: S608


@lru_cache(maxsize=512)
def _places(width: int, count: int) -> str:
    return ",".join(["(" + ",".join("?" * width) + ")"] * count)


@lru_cache(maxsize=512)
def _insert(table: str, columns: tuple[str, ...], count: int) -> str:
    # "WHERE true" is not needed: SQLite's ambiguity of ON CONFLICT is with INSERT … SELECT only.
    return f"INSERT INTO {table} ({','.join(columns)}) VALUES {_places(len(columns), count)}"  # noqa: S608


@lru_cache(maxsize=64)
def _on_conflict(key: tuple[str, ...], keep: tuple[tuple[str, str], ...]) -> str:
    ways = {"new": "excluded.{0}", "least": "min({0}, excluded.{0})", "greatest": "max({0}, excluded.{0})"}
    sets = ", ".join(f"{column} = " + ways[way].format(column) for column, way in keep)
    return f" ON CONFLICT ({','.join(key)}) DO UPDATE SET {sets}"


@lru_cache(maxsize=512)
def _update(
    table: str,
    key: tuple[str, ...],
    names: tuple[str, ...],
    changes: tuple[tuple[str, str], ...],
    guard: str,
    count: int,
) -> str:
    # A subquery and not a WITH clause: Python's sqlite3 counts rows of statements that begin with UPDATE only.
    sets = ", ".join(f"{column} = {value}" for column, value in changes)
    return (
        f"UPDATE {table} SET {sets} FROM ({_named_values(key + names, count)}) v WHERE {_same(table, key, '')}"  # noqa: S608
        + (f" AND {guard}" if guard else "")
    )


@lru_cache(maxsize=512)
def _select(columns: str, table: str, key: tuple[str, ...], tail: str, count: int) -> str:
    # A join, in this order (CROSS), and not "(a, b) IN (VALUES …)", for which SQLite reads the whole table.
    names = tuple("key_" + column for column in key)
    values = _named_values(names, count)
    return f"SELECT {columns} FROM ({values}) v CROSS JOIN {table} WHERE {_same(table, key, 'key_')} {tail}"  # noqa: S608


@lru_cache(maxsize=512)
def _delete(table: str, key: tuple[str, ...], count: int) -> str:
    found = _select(",".join(f"{table}.{column}" for column in key), table, key, "", count)
    return f"DELETE FROM {table} WHERE ({','.join(key)}) IN ({found})"  # noqa: S608


@lru_cache(maxsize=128)
def _names_of(columns: str) -> tuple[str, ...]:
    return tuple(column.split(" AS ")[-1].split(".")[-1].strip() for column in columns.split(","))


def _same(table: str, key: tuple[str, ...], prefix: str) -> str:
    return " AND ".join(f"{table}.{column} = v.{prefix}{column}" for column in key)


def _values(names: tuple[str, ...], count: int) -> str:
    return f"v({','.join(names)}) AS (VALUES {_places(len(names), count)})"


def _named_values(names: tuple[str, ...], count: int) -> str:
    named = ", ".join(f"column{n} AS {name}" for n, name in enumerate(names, 1))
    return f"SELECT {named} FROM (VALUES {_places(len(names), count)})"  # noqa: S608
