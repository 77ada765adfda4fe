"""First tables of the message store."""

import sqlalchemy as sa

from push_core.sql.migrations.ddl import BY_DAY, create_index, create_table, in_place, no_road_yet
from push_core.sql.tables import blob, message_id, name

revision = "m0001"
down_revision = None
works_with = "m0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_table(
        "messages",
        sa.Column("id", message_id, primary_key=True, autoincrement=False),
        sa.Column("app", name(64), nullable=False),
        sa.Column("envelope", blob(), nullable=False),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("recalled_at", sa.BigInteger),
        sa.Column("expansion", sa.SmallInteger, nullable=False),
        sa.Column("expanded_at", sa.BigInteger),
        sa.Column("reason", sa.String(32), nullable=False, server_default=""),
        **BY_DAY,
    )
    create_table(
        "deliveries",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("device", name(), primary_key=True),
        sa.Column("app", name(64), nullable=False),
        sa.Column("state", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("told", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("channel", sa.String(32), nullable=False, server_default=no_road_yet()),
        sa.Column("vendor", sa.String(32), nullable=False, server_default=""),
        sa.Column("reason", sa.String(32), nullable=False, server_default=""),
        sa.Column("at_accepted", sa.BigInteger, nullable=False),
        in_place("at_sending"),
        sa.Column("at_waiting", sa.BigInteger),
        sa.Column("at_vendor", sa.BigInteger),
        in_place("at_delivered"),
        sa.Column("at_displayed", sa.BigInteger),
        sa.Column("at_clicked", sa.BigInteger),
        sa.Column("at_ended", sa.BigInteger),
        sa.Column("late_at", sa.BigInteger),
        sqlite_with_rowid=False,
        **BY_DAY,
    )
    create_table(
        "inbox",
        sa.Column("app", name(64), primary_key=True),
        sa.Column("device", name(), primary_key=True),
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("recall", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("priority", sa.SmallInteger, nullable=False),
        sa.Column("collapse", name()),
        sa.Column("expires", sa.BigInteger, nullable=False),
        sa.Column("push", blob(), nullable=False),
        sa.Column("ack_timeout_ms", sa.Integer, nullable=False),
        sa.Column("again", sa.SmallInteger, nullable=False),
        sa.Column("via_vendor", sa.SmallInteger, nullable=False),
    )
    create_index("inbox_expires", "inbox", ["expires"])
    create_table(
        "idempotency",
        sa.Column("app", name(64), primary_key=True),
        sa.Column("idem_key", name(255), primary_key=True),
        sa.Column("id", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary(64), nullable=False),
        sa.Column("created", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    create_index("idempotency_created", "idempotency", ["created"])
    create_table(
        "later",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("device", name(), primary_key=True),
        sa.Column("task", sa.String(16), primary_key=True),
        sa.Column("app", name(64), nullable=False),
        sa.Column("due", sa.BigInteger, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    create_index("later_due", "later", ["due"])
    create_table(
        "cursors",
        sa.Column("name", name(), primary_key=True),
        sa.Column("place", sa.BigInteger, nullable=False),
    )
    create_table(
        "issuer_leases",
        sa.Column("issuer", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("holder", name(255), nullable=False),
        sa.Column("high_water_ms", sa.BigInteger, nullable=False),
        sa.Column("held_until", sa.BigInteger, nullable=False),
    )
