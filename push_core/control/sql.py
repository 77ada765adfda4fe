"""Control in SQL: one row a key, removed ones kept as marks, and one counter that gives versions. Lives beside the devices."""

from collections.abc import Sequence
from typing import Any, Self

import msgspec
from sqlalchemy import Connection, select, update

from push_core.control.port import Control, Entry
from push_core.fuse import MakeFuse
from push_core.sql import bulk
from push_core.sql.database import Database
from push_core.sql.rows import fetch
from push_core.sql.tables import control, control_counter

_COLUMNS = ("name", "version", "body")
_NEWER = "SELECT name, version, body FROM control WHERE version > :version ORDER BY version"


class SqlControl(Control):
    """`SqlControl.open` takes the same DSN as the device store."""

    def __init__(self, database: Database) -> None:
        self._db = database

    @classmethod
    async def open(cls, dsn: str, *, fuse: MakeFuse | None = None) -> Self:
        """Raises ConfigError for a bad DSN, Unavailable when the file can't be used."""
        return cls(await Database.open(dsn, "devices", readers=1, fuse=fuse))

    async def put(self, key: str, value: Any, *, expect: int | None = None) -> Entry | None:
        body = None if value is None else msgspec.json.encode(value)
        return await self._db.write(lambda conn: _put(conn, key, body, expect))

    async def get(self, keys: Sequence[str]) -> list[Entry | None]:
        names = [(key,) for key in dict.fromkeys(keys)]
        rows = await self._db.read(lambda conn: bulk.select(conn, ", ".join(_COLUMNS), "control", ("name",), names))
        found = {row[0]: _entry(*row) for row in rows}
        return [found.get(key) for key in keys]

    async def since(self, version: int) -> list[Entry]:
        rows = await self._db.read(lambda conn: fetch(conn, _NEWER, _COLUMNS, {"version": version}), critical=True)
        return [_entry(*row) for row in rows]

    async def close(self) -> None:
        await self._db.close()


def _entry(name: str, version: int, body: bytes | None) -> Entry:
    return Entry(name, version, None if body is None else msgspec.json.decode(body))


def _put(conn: Connection, key: str, body: bytes | None, expect: int | None) -> Entry | None:
    # The counter first: its row is what writers of a server queue up behind, so versions appear in the order of commits and no
    # reader of `since` is past a version that appears only later.
    conn.execute(update(control_counter).values(version=control_counter.c.version + 1))
    version = conn.execute(select(control_counter.c.version)).scalar_one()
    if expect is not None:
        current = conn.execute(select(control.c.version).where(control.c.name == key).with_for_update()).scalar()
        if (current or 0) != expect:
            return None  # the counter has moved all the same: a gap in versions says nothing
    bulk.upsert(
        conn, "control", _COLUMNS, [(key, version, body)], key=("name",), keep={"version": "new", "body": "new"}
    )
    return _entry(key, version, body)
