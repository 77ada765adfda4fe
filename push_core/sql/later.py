"""Rows with a time: work to be taken up when it is due. Runs within one transaction."""

from collections.abc import Sequence
from itertools import groupby

from sqlalchemy import Connection

from push_core.clock import WallMs
from push_core.messages.port import Later, Task
from push_core.sql import bulk
from push_core.sql.forms import Lock
from push_core.sql.rows import fetch
from push_core.sql.states import OPEN_BELOW

_KEY = ("id", "device", "task")
_COLUMNS = (*_KEY, "app", "due", "tries")
_DUE = f"SELECT {', '.join(_COLUMNS)} FROM later WHERE due <= :now ORDER BY due, id LIMIT :limit"  # noqa: S608


def put(conn: Connection, rows: Sequence[Later]) -> None:
    for replace, group in groupby(
        rows, key=lambda row: row.replace
    ):  # in order: of two for one key the later one may replace
        values = [(row.id, row.device, row.task.value, row.app, row.due, row.tries) for row in group]
        values.sort(key=lambda row: row[:3])
        keep = {"due": "new", "tries": "new"} if replace else {"due": "least"}
        bulk.upsert(conn, "later", _COLUMNS, values, key=_KEY, keep=keep)


def put_open(conn: Connection, rows: Sequence[Later]) -> None:
    """Put those whose delivery (or message) is there and has not ended: a row must not outlive it."""
    of_devices = [(row.id, row.device, row.app) for row in rows if row.device]
    of_messages = [(row.id, row.app) for row in rows if not row.device]
    there: set[tuple[int, str, str]] = {
        (message_id, device, app)
        for message_id, device, app in bulk.select(
            conn,
            "id, device, app",
            "deliveries",
            ("id", "device", "app"),
            sorted(of_devices),
            tail=f"AND state < {OPEN_BELOW}",
            lock=Lock.SHARE,
        )
    }
    there.update(
        (message_id, "", app)
        for message_id, app in bulk.select(
            conn,
            "id, app",
            "messages",
            ("id", "app"),
            sorted(of_messages),
            tail="AND recalled_at IS NULL",
            lock=Lock.SHARE,
        )
    )
    put(conn, [row for row in rows if (row.id, row.device, row.app) in there])


def take(conn: Connection, now: WallMs, hold_ms: int, limit: int) -> list[Later]:
    due = {"now": now, "limit": limit}
    taken = [
        Later(id=message_id, app=app, device=device, task=Task(task), due=now + hold_ms, tries=tries + 1)
        for message_id, device, task, app, _, tries in fetch(conn, _DUE, _COLUMNS, due, lock=Lock.SKIP)
    ]
    values = [(row.id, row.device, row.task.value, row.due, row.tries) for row in taken]
    bulk.update(conn, "later", _KEY, ("due", "tries"), {"due": "v.due", "tries": "v.tries"}, "", values)
    return taken


def drop(conn: Connection, rows: Sequence[Later]) -> None:
    bulk.delete(conn, "later", (*_KEY, "app"), [(row.id, row.device, row.task.value, row.app) for row in rows])


def remove_all(conn: Connection, deliveries: Sequence[tuple[int, str]]) -> None:
    """All tasks of deliveries (id, device)."""
    bulk.delete(conn, "later", ("id", "device"), sorted(deliveries))
