"""Statements over many rows, each in the form of the connection's dialect (`sqlite/forms.py`, `mysql/forms.py`).

Why text and `exec_driver_sql` rather than SQLAlchemy's expressions: these run for every message, and compiling an expanding VALUES
list costs several times what the statement itself does.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from push_core.sql.forms import Forms, InPlace, Lock, Row
from push_core.sql.mysql.forms import MysqlForms
from push_core.sql.sqlite.forms import SqliteForms

_MYSQL = MysqlForms()
_FORMS: Mapping[str, Forms] = {"sqlite": SqliteForms(), "mysql": _MYSQL, "mariadb": _MYSQL}


def forms(conn: Connection) -> Forms:
    return _FORMS[conn.dialect.name]


def insert_ignore(conn: Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> int:
    """Insert the rows whose primary key is not there yet; how many that were."""
    return forms(conn).insert_ignore(conn, table, columns, rows)


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
    forms(conn).upsert(conn, table, columns, rows, key, keep)


def update(
    conn: Connection,
    table: str,
    key: tuple[str, ...],
    names: tuple[str, ...],
    sets: Mapping[str, str],
    guard: str,
    rows: Sequence[Row],
    *,
    in_place: InPlace | None = None,
) -> int:
    """Change rows by key. A row of `rows` is the key and then `names`; `sets` (column: expression) and `guard` refer to them as
    `v.name` and to the table's columns by the table's name. How many rows were found and passed the guard.

    `in_place` allows a server a cheaper way, under the conditions that `InPlace` names.
    """
    return forms(conn).update(conn, table, key, names, sets, guard, rows, in_place)


def delete(conn: Connection, table: str, key: tuple[str, ...], keys: Sequence[Row]) -> int:
    return forms(conn).delete(conn, table, key, keys)


def delete_found(conn: Connection, table: str, key: tuple[str, ...], select: str, arguments: Mapping[str, Any]) -> int:
    """Delete the rows whose key `select` finds; it names its columns as those of `key`."""
    return forms(conn).delete_found(conn, table, key, select, arguments)


def select(
    conn: Connection,
    columns: str,
    table: str,
    key: tuple[str, ...],
    keys: Sequence[Row],
    *,
    tail: str = "",
    lock: Lock = Lock.NONE,
) -> list[Any]:
    """`columns` of the rows whose `key` is one of `keys`; `tail` goes on after that condition. No column may be called `key_…`."""
    return forms(conn).select(conn, columns, table, key, keys, tail, lock)


def select_joined(
    conn: Connection,
    names: tuple[str, ...],
    rows: Sequence[Row],
    text: str,
    columns: tuple[str, ...],
    arguments: Sequence[Any] = (),
) -> list[Any]:
    """Run `text`, in which the table `v` has the given rows, and which selects `columns`; `arguments` are for its own
    placeholders (`?`)."""
    return forms(conn).select_joined(conn, names, rows, text, columns, arguments)


def snapshot(conn: Connection) -> None:
    """From here on all reads of this call see the store as it is now. For reading connections only."""
    forms(conn).snapshot(conn)
