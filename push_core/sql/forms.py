"""The statements over many rows that the dialects of SQL write differently; `bulk.py` and `rows.py` pick the dialect of a connection.

Everything else of this adapter is SQL that SQLite, MariaDB and MySQL read alike.
"""

import enum
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection

Row = Sequence[Any]
Arguments = Sequence[Any] | Mapping[str, Any]


class Lock(enum.Enum):
    """What a read that decides about a write holds until the transaction ends. On SQLite the writer has the whole file anyway."""

    NONE = "none"
    SHARE = "share"  # nobody changes the rows
    UPDATE = "update"  # nobody changes them or reads them for update
    SKIP = "skip"  # as UPDATE, leaving out rows that somebody has


class InPlace(NamedTuple):
    """What a server needs to know to update rows by `INSERT … ON DUPLICATE KEY UPDATE`, which costs it half of an UPDATE with a join.

    Only for callers who undo everything when the count is not that of the rows, or who hold the rows: one that does not exist may
    be inserted. What passes the guard must be changed; columns that the guard names are set last.
    """

    unique: tuple[str, ...]  # the columns of the primary key
    carriers: Mapping[str, str]  # for each name of the update a column that can carry its values there
    needed: frozenset[str]  # names whose carrier has no default


class Forms(Protocol):
    """Arguments as in `bulk.py`, whose functions have the docstrings."""

    def insert_ignore(self, conn: Connection, table: str, columns: tuple[str, ...], rows: Sequence[Row]) -> int: ...

    def upsert(
        self,
        conn: Connection,
        table: str,
        columns: tuple[str, ...],
        rows: Sequence[Row],
        key: tuple[str, ...],
        keep: Mapping[str, str],
    ) -> None: ...

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
    ) -> int: ...

    def delete(self, conn: Connection, table: str, key: tuple[str, ...], keys: Sequence[Row]) -> int: ...

    def delete_found(
        self, conn: Connection, table: str, key: tuple[str, ...], select: str, arguments: Mapping[str, Any]
    ) -> int: ...

    def select(
        self,
        conn: Connection,
        columns: str,
        table: str,
        key: tuple[str, ...],
        keys: Sequence[Row],
        tail: str,
        lock: Lock,
    ) -> list[Any]: ...

    def select_joined(
        self,
        conn: Connection,
        names: tuple[str, ...],
        rows: Sequence[Row],
        text: str,
        columns: tuple[str, ...],
        arguments: Sequence[Any],
    ) -> list[Any]: ...

    def fetch(
        self, conn: Connection, select: str, names: tuple[str, ...], arguments: Arguments, lock: Lock
    ) -> list[tuple[Any, ...]]: ...

    def snapshot(self, conn: Connection) -> None: ...
