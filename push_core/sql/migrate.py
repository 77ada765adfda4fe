"""Bringing a store's tables to this version: Alembic, run at open for embedded stores and by `taco db upgrade` for a server's.

Two histories live in `migrations/`, since messages and devices may share a database or not; each has a version table of its own, and
beside it a row that says from which step on a release works with the tables (`window.py`). Rules for a step: expand first,
contract a release later, so that the version before still works on the tables (programs are replaced one by one); say in
`works_with` the oldest step whose release does; never edit a step that was released.
"""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, SmallInteger, String, Table, delete, insert, inspect, select

_ALEMBIC = threading.Lock()  # its context is the module's: two stores that are opened at a time would share it
FOLDER = Path(__file__).parent / "migrations"
SCHEMAS = ("messages", "devices")


class Version(NamedTuple):
    """At which step the tables are (None: there are none), and the oldest step whose release works with them."""

    at: str | None
    works_with: str | None


def config_for(schema: str) -> Config:
    """Alembic's configuration of one history; no alembic.ini, so that it works from an installed package."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER / schema).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def version_table(schema: str) -> str:
    return f"taco_{schema}_version"


def window_table(schema: str) -> Table:
    """One row, written with each upgrade."""
    return Table(
        f"taco_{schema}_window",
        MetaData(),
        Column("one", SmallInteger, primary_key=True, autoincrement=False),  # always 1
        Column("works_with", String(32), nullable=False),
    )


def steps_known(schema: str) -> Sequence[str]:
    """The steps of this release, oldest first."""
    script = ScriptDirectory.from_config(config_for(schema))
    return [step.revision for step in reversed(list(script.walk_revisions()))]


def version_of(conn: Connection, schema: str) -> Version:
    at = MigrationContext.configure(conn, opts={"version_table": version_table(schema)}).get_current_revision()
    window = window_table(schema)
    if at is None or not inspect(conn).has_table(window.name):
        return Version(at, at)  # before there was such a row
    return Version(at, conn.execute(select(window.c.works_with)).scalar())


def upgrade(conn: Connection, schema: str) -> None:
    """`alembic upgrade head`. SQLite: in the transaction of `conn`, all of it or nothing, and two programs that start together take turns.
    A server commits each change of a table by itself: steps may be run again (`migrations/ddl.py`), and callers hold a lock."""
    config = config_for(schema)
    config.attributes["connection"] = conn
    config.attributes["schema"] = schema
    with _ALEMBIC:
        command.upgrade(config, "head")
    head = ScriptDirectory.from_config(config).get_revision("head")
    window = window_table(schema)
    window.create(conn, checkfirst=True)
    conn.execute(delete(window))
    conn.execute(insert(window).values(one=1, works_with=head.module.works_with))
