"""Reading many rows in one step of the driver.

Python's sqlite3 gives up the interpreter's lock for every row it fetches, and a thread that wants it back from a busy event loop waits
for up to a switch interval each time: an inbox read of 2,000 rows, 13 ms of work, took seconds. So SQLite packs a result into one JSON
value and hands over a single row. A server's driver reads its rows itself and needs none of this.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from sqlalchemy import Connection, text

BYTES = frozenset({"envelope", "push", "digest", "body"})  # JSON has no bytes: these travel in hex
_rows = msgspec.json.Decoder(list[tuple[Any, ...]])


def fetch(
    conn: Connection, select: str, names: tuple[str, ...], arguments: Sequence[Any] | Mapping[str, Any] = ()
) -> list[tuple[Any, ...]]:
    """The rows of `select`, in its order, whose columns are `names`. `arguments` as the driver takes them, or by name (`:name`)."""
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


@lru_cache(maxsize=1_024)
def _packed(select: str, names: tuple[str, ...]) -> str:
    fields = ",".join(f"CASE WHEN {n} IS NOT NULL THEN hex({n}) END" if n in BYTES else n for n in names)
    return f"SELECT json_group_array(json_array({fields})) FROM ({select})"  # noqa: S608
