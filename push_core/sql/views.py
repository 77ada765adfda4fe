"""Reading where messages and deliveries are. Changes nothing."""

from collections.abc import Sequence
from functools import lru_cache

from sqlalchemy import Connection, TextClause, text

from push_core.envelope import Envelope, decode
from push_core.lifecycle import Reason, State, most_advanced
from push_core.messages.port import DeliveryView, MessageView, Standing
from push_core.sql import broadcasts, bulk
from push_core.sql.acceptance import TO_EXPAND
from push_core.sql.rows import fetch
from push_core.sql.states import AT, STATE

_COUNTS = "SELECT state, reason, COUNT(*) AS many FROM deliveries WHERE id = :id GROUP BY state, reason"
_TIMES = ("at_accepted", "at_sending", "at_waiting", "at_vendor", "at_delivered", "at_displayed", "at_clicked")
_DELIVERY = ("device", "channel", "state", "reason", "at_ended", "late_at", *_TIMES)
_FIRST = f"SELECT {', '.join(_DELIVERY)} FROM deliveries WHERE id = :id ORDER BY device LIMIT :limit"  # noqa: S608
_PAGE = _FIRST.replace(" ORDER BY", " AND device > :after ORDER BY")
_NAME = {column: state.value for state, column in AT.items() if column != "at_ended"}


@lru_cache(maxsize=8)
def owned(columns: str) -> TextClause:
    """Columns of the message :id, if it is :app's."""
    return text(f"SELECT {columns} FROM messages WHERE id = :id AND app = :app")  # noqa: S608


def views(conn: Connection, asks: Sequence[tuple[str, int]], after: str | None, limit: int) -> list[MessageView | None]:
    bulk.snapshot(conn)  # counts and rows of a message agree
    return [_view(conn, app, message_id, after, limit) for app, message_id in asks]


def _view(conn: Connection, app: str, message_id: int, after: str | None, limit: int) -> MessageView | None:
    row = conn.execute(owned("recalled_at, expansion, reason, counted"), {"id": message_id, "app": app}).first()
    if row is None:
        return None
    counts: dict[str, int] = {}
    reasons: dict[State, set[str]] = {}
    for code, reason, count in fetch(conn, _COUNTS, ("state", "reason", "many"), {"id": message_id}):
        state = STATE[code]
        counts[state.value] = counts.get(state.value, 0) + count
        reasons.setdefault(state, set()).add(reason)
    expanding = row.expansion == TO_EXPAND
    for each, count in broadcasts.by_state(row.counted, ended=not expanding).items():
        counts[each.value] = count
        reasons[each] = {""}
    state = _state_of(list(reasons), expanding=expanding, recalled=row.recalled_at is not None, reason=row.reason)
    # The message's reason is that of its deliveries in its state, if they have one in common.
    common = reasons.get(state, set())
    deliveries = _deliveries(conn, message_id, after, limit)
    return MessageView(
        id=message_id,
        state=state,
        reason=row.reason or (next(iter(common)) if len(common) == 1 else ""),
        counts=counts,
        recalled_at=row.recalled_at,
        deliveries=deliveries,
        next=deliveries[-1].device if deliveries and len(deliveries) == limit else None,
    )


def _state_of(states: list[State], *, expanding: bool, recalled: bool, reason: str) -> State:
    if expanding:  # more may come
        return most_advanced([*states, State.ACCEPTED])
    if states:
        return most_advanced(states)
    if recalled:
        return State.RECALLED
    return State.EXPIRED if reason == Reason.NOT_CONNECTED else State.UNDELIVERABLE


def _deliveries(conn: Connection, message_id: int, after: str | None, limit: int) -> list[DeliveryView]:
    page = {"id": message_id, "limit": limit}
    if after is None:
        rows = fetch(conn, _FIRST, _DELIVERY, page)
    else:
        rows = fetch(conn, _PAGE, _DELIVERY, {**page, "after": after})
    views = []
    for device, channel, code, reason, at_ended, late_at, *times in rows:
        state = STATE[code]
        at = {_NAME[column]: ms for column, ms in zip(_TIMES, times, strict=True) if ms}
        if at_ended is not None:
            at[state.value] = at_ended
        if late_at is not None:
            at["late_at"] = late_at
        views.append(DeliveryView(device=device, channel=channel.strip(), state=state, reason=reason, at=at))
    return views


def envelopes(conn: Connection, ids: Sequence[int]) -> list[Envelope | None]:
    keys = [(message_id,) for message_id in dict.fromkeys(ids)]
    found = {row[0]: decode(row[1]) for row in bulk.select(conn, "id, envelope", "messages", ("id",), keys)}
    return [found.get(message_id) for message_id in ids]


_ASKED = ("n", "id", "app", "device")
_STANDING = ("n", "state", "vendor", "recalled", "in_inbox")
_STANDINGS = """
SELECT v.n, d.state, d.vendor, m.recalled_at IS NOT NULL AS recalled, i.id IS NOT NULL AS in_inbox
FROM v JOIN deliveries d ON d.id = v.id AND d.device = v.device AND d.app = v.app
JOIN messages m ON m.id = v.id
LEFT JOIN inbox i ON i.app = v.app AND i.device = v.device AND i.id = v.id AND i.recall = 0
"""


def standings(conn: Connection, keys: Sequence[tuple[int, str, str]]) -> list[Standing | None]:
    rows = [(n, *key) for n, key in enumerate(keys)]
    found: list[Standing | None] = [None] * len(keys)
    for n, code, vendor, recalled, in_inbox in bulk.select_joined(conn, _ASKED, rows, _STANDINGS, _STANDING):
        found[n] = Standing(STATE[code], bool(recalled), bool(in_inbox), vendor)
    return found


def recalled(conn: Connection, ids: Sequence[int]) -> set[int]:
    keys = [(message_id,) for message_id in set(ids)]
    return {row[0] for row in bulk.select(conn, "id", "messages", ("id",), keys, tail="AND recalled_at IS NOT NULL")}
