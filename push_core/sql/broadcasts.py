"""What gateways counted of live broadcasts: kept with the message, by node, and added up for views.

Knows nothing of how a broadcast is made. Runs within one transaction.
"""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection, text

from push_core.lifecycle import State
from push_core.messages.port import NodeCount
from push_core.sql import bulk
from push_core.sql.forms import Lock

_Numbers = tuple[int, int, int, int]  # written, full, acked, refused
_read = msgspec.json.Decoder(dict[str, _Numbers]).decode
_write = msgspec.json.encode
_SET = text("UPDATE messages SET counted = :counted WHERE id = :id AND app = :app")


def count(conn: Connection, counts: Sequence[NodeCount]) -> None:
    keys = sorted({(each.id, each.app) for each in counts})
    rows = bulk.select(conn, "id, app, counted", "messages", ("id", "app"), keys, lock=Lock.UPDATE)
    kept: dict[tuple[int, str], dict[str, _Numbers]] = {
        (message_id, app): _read(counted) if counted else {} for message_id, app, counted in rows
    }
    changed = set()
    for each in counts:
        by_node = kept.get((each.id, each.app))
        if by_node is None:
            continue
        before = by_node.get(each.node, (0, 0, 0, 0))
        said = (each.written, each.full, each.acked, each.refused)
        after = (
            max(before[0], said[0]),
            max(before[1], said[1]),
            max(before[2], said[2]),
            max(before[3], said[3]),
        )
        if after != before:
            by_node[each.node] = after
            changed.add((each.id, each.app))
    for message_id, app in sorted(changed):
        conn.execute(_SET, {"counted": _write(kept[message_id, app]), "id": message_id, "app": app})


def by_state(counted: bytes | None, *, ended: bool) -> dict[State, int]:
    """Sessions by the state that they would have as deliveries. While acks may still come an unacked one is `sending`."""
    if not counted:
        return {}
    written, full, acked, refused = (sum(numbers) for numbers in zip(*_read(counted).values(), strict=True))
    unacked = written - acked - refused
    states = {
        State.DELIVERED: acked,
        State.UNDELIVERABLE: refused,
        State.SENDING: 0 if ended else unacked,
        State.EXPIRED: full + (unacked if ended else 0),
    }
    return {state: n for state, n in states.items() if n > 0}
