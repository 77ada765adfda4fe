"""Taking a message back: open deliveries end, and devices that may have it get a row that says so. Runs within one transaction."""

from sqlalchemy import Connection, text

from push_core.clock import WallMs
from push_core.lifecycle import Reason, State
from push_core.messages.port import Ended, Recalled
from push_core.models import Priority
from push_core.sql import bulk, inbox
from push_core.sql.acceptance import EXPANDED
from push_core.sql.forms import Lock
from push_core.sql.moves import end_open
from push_core.sql.rows import fetch
from push_core.sql.states import CODE, OPEN_BELOW

KEEP_MS = (
    24 * 3_600_000
)  # a recall row lives a day at least: a notification stays on a screen beyond the message's own time

_WAITS_UNTRIED = f"""(state = {CODE[State.WAITING]} AND EXISTS (
  SELECT 1 FROM inbox i WHERE i.app = deliveries.app AND i.device = deliveries.device AND i.id = deliveries.id
  AND i.recall = 0 AND i.again = 0 AND i.via_vendor = 0))"""  # noqa: S608
_HAS_IT = f"(state >= {OPEN_BELOW} AND state < {CODE[State.EXPIRED]})"
_TELL = f"""INSERT INTO inbox ({", ".join(inbox.COLUMNS)})
SELECT app, device, id, 1, {Priority.URGENT.order}, NULL, :expires, :push, 0, 0, 0 FROM deliveries WHERE id = :id AND told = 1
"""  # noqa: S608
_OWNED = "SELECT expires, recalled_at FROM messages WHERE id = :id AND app = :app"
_DEVICES = "SELECT device, told, state FROM deliveries WHERE id = :id ORDER BY device"
_STEPS = (
    f"UPDATE messages SET recalled_at = :now, expansion = CASE WHEN expansion = 0 THEN 0 ELSE {EXPANDED} END WHERE id = :id",  # noqa: S608
    f"UPDATE deliveries SET told = 1 WHERE id = :id AND ({_HAS_IT} OR (state < {OPEN_BELOW} AND NOT {_WAITS_UNTRIED}))",  # noqa: S608
    f"UPDATE deliveries SET state = {CODE[State.RECALLED]}, at_ended = :now, reason = '' WHERE id = :id AND state < {OPEN_BELOW}",  # noqa: S608
    "DELETE FROM later WHERE id = :id",
    # No unique key can be in the way: recall rows of an id are made once, here.
    _TELL,
)
_STORED = "SELECT app, device, id, 0 AS recall FROM deliveries WHERE id = :id"


def recall(conn: Connection, app: str, message_id: int, now: WallMs) -> Recalled | None:
    mine = fetch(conn, _OWNED, ("expires", "recalled_at"), {"id": message_id, "app": app}, lock=Lock.UPDATE)
    if not mine:
        return None
    ((expires, recalled_at),) = mine
    displaced: list[Ended] = []
    if recalled_at is None:
        # Held from here on: what the steps find out about a delivery stays true until it has ended.
        fetch(conn, _DEVICES, ("device", "told", "state"), {"id": message_id}, lock=Lock.UPDATE)
        values = {"id": message_id, "now": now, "expires": max(expires, now + KEEP_MS), "push": b""}
        for step in _STEPS:
            conn.execute(text(step), values)
        bulk.delete_found(conn, "inbox", inbox.KEY, _STORED, {"id": message_id})
    found = fetch(conn, _DEVICES, ("device", "told", "state"), {"id": message_id})
    notify = [device for device, told, _ in found if told]
    if recalled_at is None:
        displaced = _make_room(conn, app, notify, now)
    return Recalled(message_id, notify, [d for d, _, code in found if code == CODE[State.RECALLED]], displaced)


def _make_room(conn: Connection, app: str, notify: list[str], now: WallMs) -> list[Ended]:

    gone = inbox.overflow(conn, [(app, device) for device in notify])
    keys = [(message_id, device, owner) for owner, device, message_id, recall_row in gone if not recall_row]
    return end_open(conn, keys, State.UNDELIVERABLE, Reason.INBOX_FULL, now)
