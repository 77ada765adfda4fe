"""Reading the rows of one SELECT, in the way that costs least with the connection's driver."""

from typing import Any

from sqlalchemy import Connection

from push_core.sql.bulk import forms
from push_core.sql.forms import Arguments, Lock


def fetch(
    conn: Connection, select: str, names: tuple[str, ...], arguments: Arguments = (), *, lock: Lock = Lock.NONE
) -> list[tuple[Any, ...]]:
    """The rows of `select`, in its order, whose columns are `names`. `arguments` in order (`?`) or by name (`:name`)."""
    return forms(conn).fetch(conn, select, names, arguments, lock)
