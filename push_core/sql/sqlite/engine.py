"""A file of SQLite as an engine whose connections are durable, wait a bounded time and begin transactions explicitly."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.pool import NullPool

from push_core.errors import ConfigError

BUSY_MS = (
    4_000  # below the deadline of a call (5 s), so that a locked file is answered with certainty: nothing happened
)
STATEMENTS = 512  # bulk statements come in a few sizes each (`bulk.py`); all of them stay prepared

# WAL + synchronous=FULL: one fsync a commit, and what was committed survives a loss of power (https://sqlite.org/pragma.html#pragma_synchronous).
# A checkpoint each 16 MiB rather than 4: fewer fsyncs of the main file, and the log still fits in the page cache.
_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_MS}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=FULL",
    "PRAGMA foreign_keys=OFF",
    "PRAGMA temp_store=MEMORY",
    "PRAGMA cache_size=-16384",
    "PRAGMA wal_autocheckpoint=4000",
    "PRAGMA journal_size_limit=67108864",
)


def check(url: URL) -> None:
    """Raises ConfigError for what a file can't have."""
    if url.query or url.host:
        raise ConfigError("a SQLite DSN is sqlite:///path or sqlite:// and has no host and no options")


def in_memory(url: URL) -> bool:
    return url.database in (None, "", ":memory:")


def shown(url: URL) -> str:
    """The store's name in errors and logs: no password in it."""
    return "the store in memory" if in_memory(url) else f"the store {url.render_as_string(hide_password=True)}"


def make_engine(url: URL) -> Engine:
    """An engine without a pool: each thread of the adapter keeps a connection of its own. Makes the file's folder."""
    if not in_memory(url):
        folder = Path(str(url.database)).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"{folder} can't be made: {error.strerror}") from None
        _make_private(Path(str(url.database)))
    engine = create_engine(
        url,
        poolclass=NullPool,
        # Closed by the thread that closes the store, which is not the one that used it.
        connect_args={"check_same_thread": False, "cached_statements": STATEMENTS},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
    return engine


def _make_private(path: Path) -> None:
    """A new file is its owner's alone: it holds devices' secrets and what people are told. SQLite gives its journals the same rights; a
    file that is there keeps those that its owner gave it, and is not touched at all: to close a descriptor of it would drop the locks of
    every connection that this process has to it (POSIX; sqlite.org/howtocorrupt.html 2.2)."""
    with suppress(OSError):  # it is there; or SQLite says what is wrong when it opens the file
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _set_up(connection: Any, _record: Any) -> None:
    # The driver's own implicit BEGIN is deferred and comes before writes only: off, `_begin` says it.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(pragma)
    cursor.close()


def _begin(connection: Any) -> None:
    # IMMEDIATE: a writer waits for the lock at the beginning, where nothing has happened, and never fails half-way with SQLITE_BUSY.
    reading = connection.get_execution_options().get("reading", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
