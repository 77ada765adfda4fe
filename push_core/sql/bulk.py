"""Statements over many rows, and the one place where the dialects of SQL differ.

Why text and `exec_driver_sql` rather than SQLAlchemy's expressions: these run for every message, and compiling an expanding VALUES
list costs several times what the statement itself does. Why one statement of many rows rather than `executemany`: the driver
gives up the interpreter's lock for each row it steps through, and taking it back from a busy event loop can cost milliseconds each.

Rows are cut into powers of two, so that a batch of any size uses a handful of statements and the driver's cache keeps all of them prepared.
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import Connection

from push_core.sql.rows import fetch

LARGEST = 256  # rows in a statement: × 8 columns stays far below SQLite's 32,766 parameters

SKIP_LOCKED = ""  # SQLite has one writer; a server's takers say FOR UPDATE SKIP LOCKED

Row = Sequence[Any]


def insert_ignore(conn: Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> int:
    """Insert the rows whose primary key is not there yet; how many that were."""
    return sum(
        conn.exec_driver_sql(_insert(table, columns, len(part)) + " ON CONFLICT DO NOTHING", _flat(part)).rowcount
        for part in parts(rows)
    )


def upsert(
    conn: Connection,
    table: str,
    columns: tuple[str, ...],
    rows: Sequence[Row],
    *,
    key: tuple[str, ...],
    keep: Mapping[str, str],
) -> None:
    """Insert, or change the row of that key: `keep` says for each column to be changed which value stays: "new", "least" or "greatest"."""
    tail = _on_conflict(key, tuple(keep.items()))
    for part in parts(rows):
        conn.exec_driver_sql(_insert(table, columns, len(part)) + tail, _flat(part))


def update(
    conn: Connection,
    table: str,
    key: tuple[str, ...],
    names: tuple[str, ...],
    sets: str,
    guard: str,
    rows: Sequence[Row],
) -> int:
    """Change rows by key. A row of `rows` is the key and then `names`; `sets` and `guard` refer to them as `v.name` and to the
    table's columns by the table's name. How many rows were found and passed the guard."""
    return sum(
        conn.exec_driver_sql(_update(table, key, names, sets, guard, len(part)), _flat(part)).rowcount
        for part in parts(rows)
    )


def delete(conn: Connection, table: str, key: tuple[str, ...], keys: Sequence[Row]) -> int:
    return sum(conn.exec_driver_sql(_delete(table, key, len(part)), _flat(part)).rowcount for part in parts(keys))


def select(
    conn: Connection, columns: str, table: str, key: tuple[str, ...], keys: Sequence[Row], *, tail: str = ""
) -> list[Any]:
    """`columns` of the rows whose `key` is one of `keys`; `tail` goes on after that condition. No column may be called `key_…`."""
    names = _names_of(columns)
    found: list[Any] = []
    for part in parts(keys):
        found.extend(fetch(conn, _select(columns, table, key, tail, len(part)), names, _flat(part)))
    return found


def select_joined(
    conn: Connection,
    names: tuple[str, ...],
    rows: Sequence[Row],
    text: str,
    columns: tuple[str, ...],
    arguments: Sequence[Any] = (),
) -> list[Any]:
    """Run `text`, in which the table `v` has the given rows, and which selects `columns`; `arguments` are for its own
    placeholders."""
    found: list[Any] = []
    for part in parts(rows):
        statement = f"WITH {_values(names, len(part))} {text}"
        found.extend(fetch(conn, statement, columns, (*_flat(part), *arguments)))
    return found


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
def _update(table: str, key: tuple[str, ...], names: tuple[str, ...], sets: str, guard: str, count: int) -> str:
    # A subquery and not a WITH clause: Python's sqlite3 counts rows of statements that begin with UPDATE only.
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
