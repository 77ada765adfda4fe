"""Moving deliveries: the one way in which a state changes (`Messages.apply`). Runs within one transaction.

Two ways to the same answer. The usual batch, hundreds of acks of messages that were never stored, is one guarded UPDATE: the guard
is the table of moves, and when the count of changed rows is the count of changes all of them were made. Everything else is read
first, classified by the table, and written with what hangs on it (inbox, later work).
"""

from collections.abc import Iterator, Sequence
from operator import itemgetter

from sqlalchemy import Connection

from push_core.clock import WallMs
from push_core.lifecycle import ENDS, OPEN, RANK, Reason, State, may_move
from push_core.messages.port import Applied, Change, Ended, Outcome
from push_core.sql import bulk, inbox, later
from push_core.sql.forms import InPlace, Lock, Row
from push_core.sql.instead import Instead
from push_core.sql.states import AT, CODE, ORIGINS, STATE

_KEY = ("id", "device", "app")
_NAMES = ("entered", "reason", "channel", "written")
_PLACE = itemgetter(0, 1)  # of a row: the primary key
_LATE_KEY = ("id", "device")
_IN_PLACE = InPlace(
    unique=("id", "device"),
    carriers={"entered": "at_accepted", "reason": "reason", "channel": "channel", "written": "at_sending"},
    needed=frozenset({"entered"}),
)
_BY_DEVICE = frozenset({State.DELIVERED, State.DISPLAYED, State.CLICKED})
_REFUSALS = frozenset({Reason.DROPPED, Reason.UNDECODABLE})


def _sets(to: State) -> dict[str, str]:
    sets = {
        AT[to]: "COALESCE(NULLIF(v.written, 0), v.entered)" if to is State.SENDING else "v.entered",
        "reason": "v.reason",
    }
    sets["channel"] = "CASE WHEN v.channel = '' THEN deliveries.channel ELSE v.channel END"
    if to is not State.SENDING:
        sets["at_sending"] = "COALESCE(NULLIF(deliveries.at_sending, 0), v.written)"
    if to is State.VENDOR:
        sets["vendor"] = "v.channel"
    return {**sets, "state": str(CODE[to])}  # last: the guard asks for it


_SETS = {to: _sets(to) for to in State}
_GUARD = {to: f"deliveries.state IN ({','.join(map(str, origins))})" for to, origins in ORIGINS.items()}


def apply(conn: Connection, changes: Sequence[Change], now: WallMs) -> Outcome:
    """Raises Instead, when the short way did not do: for a caller that undoes what was written."""
    if not _plain(changes):
        return _apply_by_reading(conn, changes, now)
    if _move(conn, changes) == len(changes):
        return Outcome([Applied.MADE] * len(changes), [])
    # Some were repeats, late or foreign, and an UPDATE doesn't say which.
    raise Instead(lambda conn: _apply_by_reading(conn, changes, now))


def _apply_by_reading(conn: Connection, changes: Sequence[Change], now: WallMs) -> Outcome:
    applied: list[Applied] = []
    ended: list[Ended] = []
    for run in _runs(changes):
        outcome = _apply_run(conn, run, now)
        applied += outcome.applied
        ended += outcome.ended
    return Outcome(applied, ended)


def end_open(
    conn: Connection, keys: Sequence[tuple[int, str, str]], to: State, reason: Reason, now: WallMs
) -> list[Ended]:
    """End those of the deliveries (id, device, app) that are open, with their inbox rows and later work; those that did end."""
    open_ones = [key for key, code in _codes(conn, keys).items() if may_move(STATE[code], to)]
    _move(conn, [Change(id=k[0], device=k[1], app=k[2], to=to, at=now, reason=reason) for k in open_ones])
    _clear(conn, keys)
    return [Ended(message_id, app, device, to, reason) for message_id, device, app in open_ones]


def _plain(changes: Sequence[Change]) -> bool:
    """Whether nothing but rows of `deliveries` can be touched, and each row by one change."""
    for change in changes:
        if change.stored or RANK[change.to] == 0:
            return False
    return len({(change.id, change.device) for change in changes}) == len(changes)


def _runs(changes: Sequence[Change]) -> Iterator[Sequence[Change]]:
    """Cut into runs that may be made at once: each delivery comes up once, and for each device what leaves its inbox comes before
    what enters it (which is how a run is written)."""
    start = 0
    seen: set[tuple[int, str]] = set()
    entered: set[tuple[str, str]] = set()
    for index, change in enumerate(changes):
        key, device = (change.id, change.device), (change.app, change.device)
        if key in seen or (device in entered and change.to not in OPEN):
            yield changes[start:index]
            start = index
            seen.clear()
            entered.clear()
        seen.add(key)
        if change.inbox is not None:
            entered.add(device)
    if start < len(changes):
        yield changes[start:]


def _apply_run(conn: Connection, changes: Sequence[Change], now: WallMs) -> Outcome:
    stores = sum(change.inbox is not None for change in changes)
    if not stores or len(changes) == 1:
        return _apply_together(conn, changes, now)
    conn.exec_driver_sql("SAVEPOINT run")
    outcome = _apply_together(conn, changes, now)
    displaced = {(ended.id, ended.device) for ended in outcome.ended}
    if displaced.isdisjoint((change.id, change.device) for change in changes):
        conn.exec_driver_sql("RELEASE SAVEPOINT run")
        return outcome
    # One of the changes displaced another's delivery from an inbox: what the other is answered depends on which came first.
    conn.exec_driver_sql("ROLLBACK TO SAVEPOINT run")
    conn.exec_driver_sql("RELEASE SAVEPOINT run")
    applied: list[Applied] = []
    ended: list[Ended] = []
    for change in changes:
        single = _apply_together(conn, (change,), now)
        applied += single.applied
        ended += single.ended
    return Outcome(applied, ended)


def _apply_together(conn: Connection, changes: Sequence[Change], now: WallMs) -> Outcome:
    keys = [(change.id, change.device, change.app) for change in changes]
    codes = _codes(conn, keys)
    reasons: dict[tuple[int, str, str], str] = {}
    if any(code >= CODE[State.EXPIRED] for code in codes.values()):
        rows = bulk.select(conn, "id, device, app, reason", "deliveries", _KEY, keys)
        reasons = {(message_id, device, app): reason for message_id, device, app, reason in rows}
    applied: list[Applied] = []
    moved: list[Change] = []
    carried: list[Change] = []
    late: list[Change] = []
    for change, key in zip(changes, keys, strict=True):
        code = codes.get(key)
        if code is None:
            applied.append(Applied.FOREIGN)
            continue
        answer = _classify(change, STATE[code], reasons.get(key, ""))
        applied.append(answer)
        if answer is Applied.LATE:
            late.append(change)
        elif answer is Applied.MADE:
            carried.append(change)
            if STATE[code] is not change.to:
                moved.append(change)
    _move(conn, moved)
    # Waiting still, but for another reason now (refused by its vendor, say).
    told = [
        (c.id, c.device, c.app, c.reason) for c in carried if c.reason and codes[c.id, c.device, c.app] == CODE[c.to]
    ]
    bulk.update(conn, "deliveries", _KEY, ("reason",), {"reason": "v.reason"}, "", told)
    acks = [(change.id, change.device, change.at) for change in late if _is_ack(change)]
    bulk.update(conn, "deliveries", _LATE_KEY, ("late",), {"late_at": "v.late"}, "deliveries.late_at IS NULL", acks)
    # Repeats too: the first ack may have come from a gateway that was given the push before it was stored.
    done = [key for change, key in zip(changes, keys, strict=True) if change.stored and change.to not in OPEN]
    _clear(conn, [key for key in done if key in codes])
    return Outcome(applied, _carry(conn, [change for change in carried if change.to in OPEN], now))


def _classify(change: Change, current: State, reason: str) -> Applied:
    if may_move(current, change.to):
        return Applied.MADE
    if current in ENDS:
        # A second "dropped" of what was dropped is a repeat; any other word from the device after the end is late.
        if change.to is current and (not _is_ack(change) or change.reason == reason):
            return Applied.REPEAT
        return Applied.LATE
    if change.to is current and current in OPEN and (change.inbox is not None or change.later is not None):
        return Applied.MADE
    return Applied.REPEAT


def _is_ack(change: Change) -> bool:
    """Whether the device itself said this."""
    return change.to in _BY_DEVICE or (change.to is State.UNDELIVERABLE and change.reason in _REFUSALS)


def _carry(conn: Connection, changes: Sequence[Change], now: WallMs) -> list[Ended]:
    """What hangs on moves to an open state: inbox rows and later work; and who was displaced by them."""
    later.put(conn, [change.later for change in changes if change.later is not None])
    displaced = inbox.put(conn, [change for change in changes if change.inbox is not None])
    ended: list[Ended] = []
    for reason in (Reason.REPLACED, Reason.INBOX_FULL):
        keys = [key for key, why in displaced.items() if why is reason]
        ended += end_open(conn, keys, State.UNDELIVERABLE, reason, now)
    return ended


def _move(conn: Connection, changes: Sequence[Change]) -> int:
    """The guarded UPDATE, one for each state that is entered; how many rows moved."""
    by_state: dict[State, list[Row]] = {}
    for change in changes:
        row = (
            change.id,
            change.device,
            change.app,
            change.at,
            change.reason or "",
            change.channel,
            change.written_at or 0,
        )
        by_state.setdefault(change.to, []).append(row)
    return sum(
        # In order of their keys, as everybody locks them.
        bulk.update(
            conn, "deliveries", _KEY, _NAMES, _SETS[to], _GUARD[to], sorted(rows, key=_PLACE), in_place=_IN_PLACE
        )
        for to, rows in by_state.items()
    )


def _codes(conn: Connection, keys: Sequence[tuple[int, str, str]]) -> dict[tuple[int, str, str], int]:
    """The states of deliveries (id, device, app), as stored and, until the transaction ends, as they stay."""
    # In one order for everybody, deliveries before what hangs on them: then of two that lock the same rows one waits for the other, and
    # not each for the other one.
    rows = bulk.select(conn, "id, device, app, state", "deliveries", _KEY, sorted(keys), lock=Lock.UPDATE)
    return {(message_id, device, app): code for message_id, device, app, code in rows}


def _clear(conn: Connection, keys: Sequence[tuple[int, str, str]]) -> None:
    """No inbox row and no later work outlives its delivery."""
    inbox.remove(conn, [(app, device, message_id, 0) for message_id, device, app in keys])
    later.remove_all(conn, [(message_id, device) for message_id, device, _ in keys])
