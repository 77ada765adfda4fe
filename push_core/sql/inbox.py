"""Rows that wait for a device: stored, collapsed, bounded, read. Runs within one transaction; moves no delivery's state.

What is displaced is named to the caller, who ends it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import Connection

from push_core.clock import WallMs
from push_core.lifecycle import Reason
from push_core.messages.port import INBOX_LIMIT, Change, InboxAsk, InboxPage, InboxRow
from push_core.models import DeviceKey
from push_core.sql import bulk
from push_core.sql.forms import Lock
from push_core.sql.rows import fetch

KEY = ("app", "device", "id", "recall")
COLUMNS = (*KEY, "priority", "collapse", "expires", "push", "ack_timeout_ms", "again", "via_vendor")
_KEEP = {"again": "greatest", "via_vendor": "greatest"}
_OLDEST = f"SELECT {', '.join(KEY)} FROM inbox WHERE app = :app AND device = :device ORDER BY id, recall LIMIT :n"  # noqa: S608
Displaced = dict[tuple[int, str, str], Reason]  # (id, device, app)


def put(conn: Connection, changes: Sequence[Change]) -> Displaced:
    """Store `change.inbox` of each; what has to go for it."""
    rows: list[tuple[Any, ...]] = []
    collapsing: dict[tuple[str, str, str], None] = {}
    for change in changes:
        row = change.inbox
        if row is None:
            continue
        rows.append(
            (
                *(change.app, change.device, change.id, 0),
                *(row.priority, change.collapse, row.expires, row.push, row.ack_timeout_ms),
                *(int(row.again), int(row.via_vendor)),
            )
        )
        if change.collapse is not None:
            collapsing[change.app, change.device, change.collapse] = None
    if not rows:
        return {}
    rows.sort(key=lambda row: row[:4])
    bulk.upsert(conn, "inbox", COLUMNS, rows, key=KEY, keep=_KEEP)
    displaced = _collapsed(conn, list(collapsing))
    remove(conn, [(app, device, message_id, 0) for message_id, device, app in displaced])
    for app, device, message_id, recall in overflow(conn, {(row[0], row[1]) for row in rows}):
        if not recall:
            displaced[message_id, device, app] = Reason.INBOX_FULL
    return displaced


def _collapsed(conn: Connection, keys: Sequence[tuple[str, str, str]]) -> Displaced:
    """Of waiting messages with one collapse key the highest id stays."""
    names = ("app", "device", "collapse")
    # Held: another's that is being stored just now is waited for, so that one of the two sees both.
    rows = bulk.select(
        conn,
        "app, device, collapse, id",
        "inbox",
        names,
        keys,
        tail="AND recall = 0 ORDER BY id DESC",
        lock=Lock.UPDATE,
    )
    newest: set[tuple[str, str, str]] = set()
    displaced: Displaced = {}
    for app, device, collapse, message_id in rows:
        if (app, device, collapse) in newest:
            displaced[message_id, device, app] = Reason.REPLACED
        newest.add((app, device, collapse))
    return displaced


def overflow(conn: Connection, devices: Iterable[DeviceKey]) -> list[tuple[str, str, int, int]]:
    """Remove the oldest rows of devices that have more than the limit; their keys (app, device, id, recall). Several writers of a server
    don't see what the others are storing: the next to store removes what they left too many."""
    counts = bulk.select(
        conn,
        "app, device, COUNT(*) AS waiting",
        "inbox",
        ("app", "device"),
        list(devices),
        tail=f"GROUP BY app, device HAVING COUNT(*) > {INBOX_LIMIT}",
    )
    gone: list[Any] = []
    for app, device, count in counts:
        gone += fetch(conn, _OLDEST, KEY, {"app": app, "device": device, "n": count - INBOX_LIMIT})
    remove(conn, gone)
    return gone


def remove(conn: Connection, keys: Sequence[tuple[str, str, int, int]]) -> None:
    bulk.delete(conn, "inbox", KEY, sorted(keys))


_ROW = ("n", "id", "priority", "expires", "push", "ack_timeout_ms", "again", "via_vendor", "recall")
_PAGE = """
SELECT k.n, i.id, i.priority, i.expires, i.push, i.ack_timeout_ms, i.again, i.via_vendor, i.recall
FROM (
  SELECT v.n, v.app, v.device, v.most, w.id, w.recall, ROW_NUMBER() OVER (PARTITION BY v.n ORDER BY w.priority, w.id) AS place
  FROM v JOIN inbox w ON w.app = v.app AND w.device = v.device
  WHERE w.expires > ? AND (w.priority > v.after_priority OR (w.priority = v.after_priority AND w.id > v.after_id))
) k JOIN inbox i ON i.app = k.app AND i.device = k.device AND i.id = k.id AND i.recall = k.recall
WHERE k.place <= k.most ORDER BY k.n, k.place
"""
_ASK = ("n", "app", "device", "most", "after_priority", "after_id")
_BEFORE_ALL = (-1, 0)


def read(conn: Connection, asks: Sequence[InboxAsk], now: WallMs) -> list[InboxPage]:
    bulk.snapshot(conn)  # a page never has more than is waiting
    counts = waiting(conn, [(ask.app, ask.device) for ask in asks], now)
    pages = [InboxPage([], counts[ask.app, ask.device]) for ask in asks]
    rows = [
        (n, ask.app, ask.device, ask.limit, *(ask.after or _BEFORE_ALL))
        for n, ask in enumerate(asks)
        if pages[n].waiting  # most devices that connect have nothing waiting, and cost no more than the count
    ]
    for n, message_id, priority, expires, push, ack_timeout_ms, again, via_vendor, recall in bulk.select_joined(
        conn, _ASK, rows, _PAGE, _ROW, (now,)
    ):
        pages[n].rows.append(
            InboxRow(
                id=message_id,
                priority=priority,
                expires=expires,
                push=push,
                ack_timeout_ms=ack_timeout_ms,
                again=bool(again),
                via_vendor=bool(via_vendor),
                recall=bool(recall),
            )
        )
    return pages


def waiting(conn: Connection, devices: Iterable[DeviceKey], now: WallMs | None = None) -> dict[DeviceKey, int]:
    """How many rows wait for each device; with `now` only those that have not expired."""
    keys = list(dict.fromkeys(devices))
    tail = "GROUP BY app, device" if now is None else f"AND expires > {now:d} GROUP BY app, device"
    rows = bulk.select(conn, "app, device, COUNT(*) AS waiting", "inbox", ("app", "device"), keys, tail=tail)
    counts = dict.fromkeys(keys, 0)
    counts.update({(app, device): count for app, device, count in rows})
    return counts
