"""The tables, as SQLAlchemy sees them. `migrations/` makes them; a test holds the two against each other.

Names of apps, devices, aliases and keys compare byte by byte: case counts, and so do trailing spaces (SQLite's default; on MySQL the
collations without padding). No column is a reserved word of MySQL 8 or MariaDB. Times are Unix ms.

Hot tables (messages, deliveries) have their primary key and no other index. WITHOUT ROWID pays for small rows
that are found by their key (one b-tree in place of two); messages and inbox carry payloads and stay ordinary tables.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Index, Integer, LargeBinary, MetaData, SmallInteger, String, Table
from sqlalchemy.dialects import mysql
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeEngine


class Name(String):
    """Text compared byte by byte, trailing spaces included."""

    inherit_cache = True


@compiles(Name, "mysql", "mariadb")
def _on_server(column: Name, compiler: Any, **_: Any) -> str:
    collation = "utf8mb4_nopad_bin" if compiler.dialect.is_mariadb else "utf8mb4_0900_bin"
    return f"VARCHAR({column.length}) CHARACTER SET utf8mb4 COLLATE {collation}"


def name(length: int = 128) -> Name:
    """At most `length` characters."""
    return Name(length)


def blob() -> TypeEngine[bytes]:
    return LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")


# SQLite makes a 64-bit rowid of INTEGER PRIMARY KEY only.
message_id = BigInteger().with_variant(Integer(), "sqlite")

MESSAGES = MetaData()
DEVICES = MetaData()

messages = Table(
    "messages",
    MESSAGES,
    Column("id", message_id, primary_key=True, autoincrement=False),
    Column("app", name(64), nullable=False),
    Column("envelope", blob(), nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("recalled_at", BigInteger),
    Column("expansion", SmallInteger, nullable=False),  # 0 named devices, 1 to be expanded, 2 expanded
    Column("expanded_at", BigInteger),
    Column("reason", String(32), nullable=False, server_default=""),
    Column("counted", blob()),  # of a live broadcast: JSON of what each node said (`broadcasts.py`)
)

deliveries = Table(
    "deliveries",
    MESSAGES,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("device", name(), primary_key=True),
    Column("app", name(64), nullable=False),
    Column("state", SmallInteger, nullable=False, server_default="0"),  # states.CODE
    Column("told", SmallInteger, nullable=False, server_default="0"),  # 1: its device was to be told of a recall
    Column("channel", String(32), nullable=False, server_default=""),  # spaces are no road (`migrations/ddl.py`)
    Column("vendor", String(32), nullable=False, server_default=""),  # the vendor channel that accepted it
    Column("reason", String(32), nullable=False, server_default=""),
    Column("at_accepted", BigInteger, nullable=False),
    Column("at_sending", BigInteger),  # of this and the next, 0 is no time either
    Column("at_waiting", BigInteger),
    Column("at_vendor", BigInteger),
    Column("at_delivered", BigInteger),
    Column("at_displayed", BigInteger),
    Column("at_clicked", BigInteger),
    Column("at_ended", BigInteger),
    Column("late_at", BigInteger),
    sqlite_with_rowid=False,
)

inbox = Table(
    "inbox",
    MESSAGES,
    Column("app", name(64), primary_key=True),
    Column("device", name(), primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("recall", SmallInteger, primary_key=True, autoincrement=False),  # 1: asks the device to take a message back
    Column("priority", SmallInteger, nullable=False),
    Column("collapse", name()),
    Column("expires", BigInteger, nullable=False),
    Column("push", blob(), nullable=False),
    Column("ack_timeout_ms", Integer, nullable=False),
    Column("again", SmallInteger, nullable=False),
    Column("via_vendor", SmallInteger, nullable=False),
    Index("inbox_expires", "expires"),
)

idempotency = Table(
    "idempotency",
    MESSAGES,
    Column("app", name(64), primary_key=True),
    Column("idem_key", name(255), primary_key=True),
    Column("id", BigInteger, nullable=False),
    Column("digest", LargeBinary(64), nullable=False),
    Column("created", BigInteger, nullable=False),
    Index("idempotency_created", "created"),
    sqlite_with_rowid=False,
)

later = Table(
    "later",
    MESSAGES,
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("device", name(), primary_key=True),  # "": about the whole message
    Column("task", String(16), primary_key=True),
    Column("app", name(64), nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False),
    Index("later_due", "due"),
    sqlite_with_rowid=False,
)

cursors = Table(
    "cursors",
    MESSAGES,
    Column("name", name(), primary_key=True),
    Column("place", BigInteger, nullable=False),
)

issuer_leases = Table(
    "issuer_leases",
    MESSAGES,
    Column("issuer", SmallInteger, primary_key=True, autoincrement=False),
    Column("holder", name(255), nullable=False),  # "": given back
    Column("high_water_ms", BigInteger, nullable=False),
    Column("held_until", BigInteger, nullable=False),
)

apps = Table(
    "apps",
    DEVICES,
    Column("name", name(64), primary_key=True),
    Column("body", blob(), nullable=False),  # JSON of models.App: new fields need no new column
)

devices = Table(
    "devices",
    DEVICES,
    Column("app", name(64), primary_key=True),
    Column("device", name(), primary_key=True),
    Column("alias", name()),
    Column("blocked", SmallInteger, nullable=False, server_default="0"),
    Column("body", blob(), nullable=False),  # JSON of models.Device; `blocked` counts in the column only
    Index("devices_alias", "app", "alias", "device"),
)

control = Table(
    "control",
    DEVICES,
    Column("name", name(255), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("body", blob()),  # JSON; NULL: removed
    Index("control_version", "version"),
)

control_counter = Table(
    "control_counter",
    DEVICES,
    Column("one", SmallInteger, primary_key=True, autoincrement=False),  # always 1
    Column("version", BigInteger, nullable=False),
)
