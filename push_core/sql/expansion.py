"""Deliveries of a target that is a query: committed page by page while it is expanded. Runs within one transaction."""

from collections.abc import Sequence

from sqlalchemy import Connection

from push_core.clock import WallMs
from push_core.lifecycle import Reason
from push_core.sql import bulk
from push_core.sql.acceptance import EXPANDED, NAMED, TO_EXPAND
from push_core.sql.forms import Lock

_DELIVERY = ("id", "device", "app", "at_accepted")


def expand(conn: Connection, pages: Sequence[tuple[int, str, Sequence[str]]], now: WallMs) -> None:
    keys = list({(message_id, app) for message_id, app, _ in pages})
    # A page that comes again after the end still finds its rows: two dispatchers may expand one message after a crash.
    taking = f"AND recalled_at IS NULL AND expansion <> {NAMED}"
    # Held: a recall comes before all of this or finds its rows.
    open_ones = {
        tuple(row)
        for row in bulk.select(conn, "id, app", "messages", ("id", "app"), keys, tail=taking, lock=Lock.SHARE)
    }
    rows = [
        (message_id, device, app, now)
        for message_id, app, names in pages
        if (message_id, app) in open_ones
        for device in names
    ]
    bulk.insert_ignore(conn, "deliveries", _DELIVERY, rows)


def expanded(conn: Connection, ends: Sequence[tuple[int, str, Reason | None]], now: WallMs) -> None:
    rows = [(message_id, app, reason or "", now) for message_id, app, reason in ends]
    sets = {"expansion": str(EXPANDED), "reason": "v.reason", "expanded_at": "v.ended"}
    bulk.update(conn, "messages", ("id", "app"), ("reason", "ended"), sets, f"messages.expansion = {TO_EXPAND}", rows)
