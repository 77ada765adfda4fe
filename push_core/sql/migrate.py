"""Bringing a store's tables to this version: Alembic, run at open for embedded stores.

Two histories live in `migrations/`, since messages and devices may share a file or not; each has a version table of its own.
Rules for a step: expand first, contract a release later, so that the version before still works on the tables (programs are
replaced one by one); never edit a step that was released.
"""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

FOLDER = Path(__file__).parent / "migrations"


def config_for(schema: str) -> Config:
    """Alembic's configuration of one history; no alembic.ini, so that it works from an installed package."""
    config = Config()
    config.set_main_option("script_location", str(FOLDER / schema).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def version_table(schema: str) -> str:
    return f"taco_{schema}_version"


def is_current(conn: Connection, schema: str) -> bool:
    """Whether there is nothing to be done; asked first, so that opening a store waits for no writer."""
    at = MigrationContext.configure(conn, opts={"version_table": version_table(schema)}).get_current_revision()
    return at == ScriptDirectory.from_config(config_for(schema)).get_current_head()


def upgrade(conn: Connection, schema: str) -> None:
    """`alembic upgrade head`, in the transaction of `conn`: all of it or nothing, and two programs that start together take turns."""
    config = config_for(schema)
    config.attributes["connection"] = conn
    config.attributes["schema"] = schema
    command.upgrade(config, "head")
