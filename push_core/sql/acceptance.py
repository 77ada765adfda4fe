"""Committing what the API accepted: messages, deliveries of named devices, idempotency keys. Runs within one transaction."""

from collections.abc import Sequence

from sqlalchemy import Connection

from push_core.clock import WallMs
from push_core.envelope import encode
from push_core.messages.port import IDEMPOTENCY_MS, Commit, Committed, NewMessage
from push_core.sql import bulk

_MESSAGE = ("id", "app", "envelope", "expires", "expansion")
_DELIVERY = ("id", "device", "app", "at_accepted")
_KEY = ("app", "idem_key")
_KEY_ROW = ("app", "idem_key", "id", "digest", "created")
NAMED, TO_EXPAND, EXPANDED = 0, 1, 2


def commit(conn: Connection, batch: Sequence[NewMessage], now: WallMs) -> list[Committed]:
    outcomes: list[Committed | None] = [None] * len(batch)
    if any(item.idempotency_key is not None for item in batch):
        _settle_keys(conn, batch, outcomes, now)
    fresh = [index for index, outcome in enumerate(outcomes) if outcome is None]
    _insert_messages(conn, batch, fresh, outcomes)
    written = [batch[index].envelope for index in fresh if outcomes[index] is None]
    rows = [(envelope.id, device, envelope.app, now) for envelope in written for device in envelope.devices]
    bulk.insert_ignore(conn, "deliveries", _DELIVERY, rows)
    return [outcome or Committed(Commit.DONE, item.envelope.id) for item, outcome in zip(batch, outcomes, strict=True)]


def _insert_messages(
    conn: Connection, batch: Sequence[NewMessage], fresh: list[int], outcomes: list[Committed | None]
) -> None:
    """Insert; sort out collisions only when the count shows that there was one."""
    rows = []
    for index in fresh:
        envelope = batch[index].envelope
        # A broadcast stays "to be expanded" until it has ended: what is open is found and published again by that.
        expansion = NAMED if envelope.alias is None and not envelope.is_broadcast else TO_EXPAND
        rows.append((envelope.id, envelope.app, encode(envelope), envelope.expires, expansion))
    if bulk.insert_ignore(conn, "messages", _MESSAGE, rows) == len(rows):
        return
    stored = {row[0]: row for row in bulk.select(conn, "id, app, envelope", "messages", ("id",), [r[:1] for r in rows])}
    collided = set()
    for index, row in zip(fresh, rows, strict=True):
        if tuple(stored[row[0]]) != row[:3]:  # the same bytes: this commit again, after an answer that got lost
            collided.add(index)
            outcomes[index] = Committed(Commit.COLLISION, row[0])
    keys = set()
    for index in collided:
        item = batch[index]
        if item.idempotency_key is not None:
            keys.add((item.envelope.app, item.idempotency_key))
    if keys:
        # Nothing of a collided message stays; those that waited for its answer by the same key have to come again too.
        bulk.delete(conn, "idempotency", _KEY, list(keys))
        for index, item in enumerate(batch):
            if (item.envelope.app, item.idempotency_key) in keys:
                outcomes[index] = Committed(Commit.COLLISION, item.envelope.id)


def _settle_keys(conn: Connection, batch: Sequence[NewMessage], outcomes: list[Committed | None], now: WallMs) -> None:
    """Write the keys that are new and answer for those that are not. Of one key within the batch the first item speaks for it."""
    firsts: dict[tuple[str, str], int] = {}
    for index, item in enumerate(batch):
        if item.idempotency_key is not None:
            firsts.setdefault((item.envelope.app, item.idempotency_key), index)
    known, run_out = _known(conn, list(firsts), now)
    rows = {
        key: (*key, batch[index].envelope.id, batch[index].digest, now)
        for key, index in firsts.items()
        if key not in known
    }
    sets = {"id": "v.id", "digest": "v.digest", "created": "v.created"}
    old = f"idempotency.created <= {now - IDEMPOTENCY_MS:d}"
    in_order = [rows[key] for key in sorted(rows)]  # of two writers with the same keys, one waits for the other
    taken_over = [row for row in in_order if row[:2] in run_out]
    new = [row for row in in_order if row[:2] not in run_out]
    written = bulk.update(conn, "idempotency", _KEY, _KEY_ROW[2:], sets, old, taken_over)
    written += bulk.insert_ignore(conn, "idempotency", _KEY_ROW, new)
    if written < len(rows):
        # Another writer was first with a key, which a file of SQLite rules out and a server does not.
        theirs, _ = _known(conn, list(rows), now)
        known |= {key: found for key, found in theirs.items() if found[0] != rows[key][2]}
    for index, item in enumerate(batch):
        if item.idempotency_key is None:
            continue
        key = (item.envelope.app, item.idempotency_key)
        first = firsts[key]
        if key not in known and first == index:
            continue
        message_id, digest = known.get(key) or (batch[first].envelope.id, batch[first].digest)
        outcomes[index] = Committed(Commit.REPLAY if digest == item.digest else Commit.CONFLICT, message_id)


def _known(
    conn: Connection, keys: list[tuple[str, str]], now: WallMs
) -> tuple[dict[tuple[str, str], tuple[int, bytes]], set[tuple[str, str]]]:
    """Keys that count, with id and digest of their first message; and keys that are there but too old to count."""
    known, run_out = {}, set()
    for app, key, message_id, digest, created in bulk.select(conn, ", ".join(_KEY_ROW), "idempotency", _KEY, keys):
        if created > now - IDEMPOTENCY_MS:
            known[app, key] = (message_id, digest)
        else:
            run_out.add((app, key))
    return known, run_out
