"""Leases of issuer numbers: no two processes make ids under one number at a time. Each function runs within one transaction."""

from sqlalchemy import Connection, select, update

from push_core.clock import WallMs
from push_core.errors import Unavailable
from push_core.ids import ISSUERS
from push_core.messages.port import IssuerLease
from push_core.sql import bulk
from push_core.sql.tables import issuer_leases as leases

_ALL = select(leases).order_by(leases.c.issuer).with_for_update()
_COLUMNS = ("issuer", "holder", "high_water_ms", "held_until")


def lease(conn: Connection, holder: str, now: WallMs, ttl_ms: int) -> IssuerLease:
    rows = {row.issuer: row for row in conn.execute(_ALL)}
    if len(rows) < ISSUERS:
        # What is not there can't be held: with all rows there, of two that ask together one waits for the other.
        bulk.insert_ignore(conn, "issuer_leases", _COLUMNS, [(n, "", 0, 0) for n in range(ISSUERS)])
        rows = {row.issuer: row for row in conn.execute(_ALL)}
    free = [n for n in range(ISSUERS) if n not in rows or not rows[n].holder or rows[n].held_until <= now]
    if not free:
        raise Unavailable(f"all {ISSUERS} issuer numbers are held; one is free when a lease ends", retry_after_s=5.0)
    # A number that was never used or was given back before one whose holder vanished: that one's clock may be ahead of ours.
    issuer = min(free, key=lambda n: (n in rows and bool(rows[n].holder), n))
    high_water_ms = 0
    if issuer in rows:
        # A holder that vanished may have made ids until its lease ran out, after it last told its mark.
        high_water_ms = max(rows[issuer].high_water_ms, rows[issuer].held_until)
    taken = IssuerLease(issuer, holder, high_water_ms, now + ttl_ms)
    keep = {"holder": "new", "high_water_ms": "greatest", "held_until": "new"}
    bulk.upsert(
        conn, "issuer_leases", _COLUMNS, [(issuer, holder, high_water_ms, now + ttl_ms)], key=("issuer",), keep=keep
    )
    return taken


def renew(conn: Connection, held: IssuerLease, high_water_ms: WallMs, now: WallMs, ttl_ms: int) -> IssuerLease | None:
    mine = (leases.c.issuer == held.issuer) & (leases.c.holder == held.holder)
    row = conn.execute(select(leases).where(mine).with_for_update()).first()
    if row is None:
        return None
    mark = max(row.high_water_ms, high_water_ms)
    conn.execute(update(leases).where(mine).values(high_water_ms=mark, held_until=now + ttl_ms))
    return IssuerLease(held.issuer, held.holder, mark, now + ttl_ms)


def release(conn: Connection, held: IssuerLease, high_water_ms: WallMs) -> None:
    mine = (leases.c.issuer == held.issuer) & (leases.c.holder == held.holder)
    row = conn.execute(select(leases).where(mine).with_for_update()).first()
    if row is not None:
        mark = max(row.high_water_ms, high_water_ms)
        conn.execute(update(leases).where(mine).values(holder="", high_water_ms=mark, held_until=0))
