"""What goes over the store by time: ends what waited too long, finds what a crash left, keeps readers' places, removes what is old.

Each runs within one transaction.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from push_core.clock import WallMs
from push_core.ids import time_of
from push_core.lifecycle import Reason, State
from push_core.messages.port import IDEMPOTENCY_MS, Ended
from push_core.sql import bulk, inbox
from push_core.sql.acceptance import TO_EXPAND
from push_core.sql.moves import end_open
from push_core.sql.rows import fetch
from push_core.sql.states import CODE, OPEN_BELOW


class _Expired(NamedTuple):
    id: int
    device: str
    app: str
    recall: int
    state: int | None


_EXPIRED = (
    "SELECT i.id, i.device, i.app, i.recall, d.state FROM inbox i"
    " LEFT JOIN deliveries d ON d.id = i.id AND d.device = i.device AND d.app = i.app"
    " WHERE i.expires <= :now ORDER BY i.expires LIMIT :limit"
)
_OPEN = (
    f"SELECT id, app, device FROM (SELECT id, app, device FROM deliveries"  # noqa: S608
    f" WHERE id >= :start AND id <= :last AND state IN ({CODE[State.ACCEPTED]}, {CODE[State.SENDING]})"
    f" AND (id > :start OR device > :device OR :whole) ORDER BY id, device LIMIT :limit) d"
    f" UNION ALL SELECT id, app, device FROM (SELECT id, app, '' AS device FROM messages"
    f" WHERE id >= :start AND id <= :last AND expansion = {TO_EXPAND} AND (id > :start OR :whole) ORDER BY id LIMIT :limit) m"
    f" ORDER BY id, device LIMIT :limit"
)
_ENDED = (
    f"SELECT m.id FROM messages m WHERE m.id >= :first AND m.id <= :last AND m.expansion <> {TO_EXPAND} AND NOT EXISTS"  # noqa: S608
    f" (SELECT 1 FROM deliveries d WHERE d.id = m.id AND d.state < {OPEN_BELOW}) ORDER BY m.id LIMIT :limit"
)
_OLD_KEYS = "SELECT app, idem_key FROM idempotency WHERE created <= :by ORDER BY created LIMIT :limit"


def expire(conn: Connection, now: WallMs, limit: int) -> list[Ended]:
    ended: list[Ended] = []
    # Again while rows were found that end nothing (recalls): fewer results than `limit` must mean that nothing is left.
    while len(ended) < limit:
        rows = [
            _Expired(*row) for row in fetch(conn, _EXPIRED, _Expired._fields, {"now": now, "limit": limit - len(ended)})
        ]
        if not rows:
            break
        unconfirmed = [(r.id, r.device, r.app) for r in rows if not r.recall and r.state == CODE[State.VENDOR]]
        others = [(r.id, r.device, r.app) for r in rows if not r.recall and r.state != CODE[State.VENDOR]]
        ended += end_open(conn, unconfirmed, State.EXPIRED, Reason.UNCONFIRMED, now)
        ended += end_open(conn, others, State.EXPIRED, Reason.TTL, now)
        inbox.remove(conn, [(row.app, row.device, row.id, row.recall) for row in rows])
    return ended


def open_between(
    conn: Connection, first_id: int, last_id: int, after: tuple[int, str], limit: int
) -> list[tuple[int, str, str]]:
    after_id, device = after
    # `whole`: the position lies before the range, so all of the first id counts, its message row (device "") included.
    values = {"start": max(first_id, after_id), "last": last_id, "device": device, "whole": int(after_id < first_id)}
    found: list[Any] = fetch(conn, _OPEN, ("id", "app", "device"), {**values, "limit": limit})
    return found


def cursor(conn: Connection, name: str) -> int:
    return conn.execute(text("SELECT place FROM cursors WHERE name = :name"), {"name": name}).scalar() or 0


def move_cursor(conn: Connection, name: str, to: int) -> None:
    bulk.upsert(conn, "cursors", ("name", "place"), [(name, to)], key=("name",), keep={"place": "greatest"})


def prune(conn: Connection, before_id: int, limit: int, ranges: Sequence[tuple[int, int]]) -> int:
    """Remove ended messages of the ranges of ids, and keys of more than a day before `before_id`; how many messages, or keys if those were more:
    where days are dropped whole, keys are what is left to remove."""
    count = 0
    for first, last in ranges:
        ids = fetch(conn, _ENDED, ("id",), {"first": first, "last": last, "limit": limit - count})
        for table in ("messages", "deliveries", "later"):
            bulk.delete(conn, table, ("id",), ids)
        count += len(ids)
        if count >= limit:
            break
    # Older than a day whatever the hour is now: `before_id` was made before it.
    by = {"by": time_of(before_id) - IDEMPOTENCY_MS, "limit": limit}
    keys = bulk.delete_found(conn, "idempotency", ("app", "idem_key"), _OLD_KEYS, by)
    return max(count, keys)
