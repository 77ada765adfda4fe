"""Where a client keeps what must outlive a restart: its installation, its count of attempts, the ids it has shown, and what it has
learned of the networks it was on.

The methods of a store block; the client calls them in a thread unless the store says that it never waits (`instant`).
All state is by (app, device), so one file may serve several clients.
"""

import contextlib
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

BUSY_TIMEOUT_S = 5.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS identity (
    app TEXT NOT NULL, device TEXT NOT NULL, install TEXT NOT NULL, attempt INTEGER NOT NULL, PRIMARY KEY (app, device));
CREATE TABLE IF NOT EXISTS seen (
    serial INTEGER PRIMARY KEY AUTOINCREMENT, app TEXT NOT NULL, device TEXT NOT NULL, id INTEGER NOT NULL, expires INTEGER NOT NULL,
    UNIQUE (app, device, id));
CREATE TABLE IF NOT EXISTS heartbeats (
    app TEXT NOT NULL, device TEXT NOT NULL, learned TEXT NOT NULL, PRIMARY KEY (app, device));
"""


class Store(Protocol):
    """Every method may raise OSError (a StoreError is one) when the store can't be used."""

    instant: bool

    def next_attempt(self, app: str, device: str) -> tuple[str, int]:
        """The random name of this installation, made once, and a number higher than any given before; stored before it returns."""
        ...

    def seen(self, app: str, device: str) -> list[tuple[int, int]]:
        """(id, expires) of all that is remembered, oldest first."""
        ...

    def remember(self, app: str, device: str, ids: Sequence[tuple[int, int]]) -> None:
        """(id, expires) of what was shown. When it returns they outlive a power cut; a known id stays as it is."""
        ...

    def forget(self, app: str, device: str, ids: Iterable[int]) -> None: ...

    def heartbeats(self, app: str, device: str) -> str | None:
        """What `keep_heartbeats` was given last; None if nothing."""
        ...

    def keep_heartbeats(self, app: str, device: str, learned: str) -> None:
        """Losing it costs a few hours of learning, no more."""
        ...

    def close(self) -> None: ...


class StoreError(OSError):
    """The store can't be read or written: full, forbidden, locked, damaged."""


class MemoryStore:
    """Forgets with the process: after a restart the server may send again what was already shown. For tests and load."""

    instant = True

    def __init__(self) -> None:
        self._identity: dict[tuple[str, str], tuple[str, int]] = {}
        self._seen: dict[tuple[str, str], dict[int, int]] = {}
        self._heartbeats: dict[tuple[str, str], str] = {}

    def next_attempt(self, app: str, device: str) -> tuple[str, int]:
        install, attempt = self._identity.get((app, device)) or (new_install(), 0)
        self._identity[app, device] = (install, attempt + 1)
        return install, attempt + 1

    def seen(self, app: str, device: str) -> list[tuple[int, int]]:
        return list(self._seen.get((app, device), {}).items())

    def remember(self, app: str, device: str, ids: Sequence[tuple[int, int]]) -> None:
        known = self._seen.setdefault((app, device), {})
        for message_id, expires in ids:
            known.setdefault(message_id, expires)

    def forget(self, app: str, device: str, ids: Iterable[int]) -> None:
        known = self._seen.get((app, device), {})
        for message_id in ids:
            known.pop(message_id, None)

    def heartbeats(self, app: str, device: str) -> str | None:
        return self._heartbeats.get((app, device))

    def keep_heartbeats(self, app: str, device: str, learned: str) -> None:
        self._heartbeats[app, device] = learned

    def close(self) -> None:
        """Nothing is held."""


class FileStore:
    """One SQLite file. `synchronous=FULL`: an id is on the disk before it is acked. Threads share one connection, in turn."""

    instant = False

    def __init__(self, path: str | Path) -> None:
        """The file is opened with the first call, and made if it isn't there; its folder must be."""
        self._path = Path(path)
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._lock = threading.Lock()

    def next_attempt(self, app: str, device: str) -> tuple[str, int]:
        with self._lock, self._transaction() as rows:
            found = rows.execute(
                "INSERT INTO identity (app, device, install, attempt) VALUES (?, ?, ?, 1)"
                " ON CONFLICT (app, device) DO UPDATE SET attempt = attempt + 1 RETURNING install, attempt",
                (app, device, new_install()),
            ).fetchall()
        install, attempt = found[0]
        return str(install), int(attempt)

    def seen(self, app: str, device: str) -> list[tuple[int, int]]:
        with self._lock, self._transaction() as rows:
            return rows.execute(
                "SELECT id, expires FROM seen WHERE app = ? AND device = ? ORDER BY serial", (app, device)
            ).fetchall()

    def remember(self, app: str, device: str, ids: Sequence[tuple[int, int]]) -> None:
        with self._lock, self._transaction() as rows:
            rows.executemany(
                "INSERT OR IGNORE INTO seen (app, device, id, expires) VALUES (?, ?, ?, ?)",
                [(app, device, message_id, expires) for message_id, expires in ids],
            )

    def forget(self, app: str, device: str, ids: Iterable[int]) -> None:
        with self._lock, self._transaction() as rows:
            rows.executemany(
                "DELETE FROM seen WHERE app = ? AND device = ? AND id = ?",
                [(app, device, message_id) for message_id in ids],
            )

    def heartbeats(self, app: str, device: str) -> str | None:
        with self._lock, self._transaction() as rows:
            found = rows.execute(
                "SELECT learned FROM heartbeats WHERE app = ? AND device = ?", (app, device)
            ).fetchone()
        return None if found is None else str(found[0])

    def keep_heartbeats(self, app: str, device: str, learned: str) -> None:
        with self._lock, self._transaction() as rows:
            rows.execute(
                "INSERT INTO heartbeats (app, device, learned) VALUES (?, ?, ?)"
                " ON CONFLICT (app, device) DO UPDATE SET learned = excluded.learned",
                (app, device, learned),
            )

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commits or rolls back; what SQLite raises becomes StoreError."""
        try:
            connection = self._open()
            with connection:
                yield connection
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        if self._closed:  # a call that a cancelled task left behind in its thread must not open the file again
            raise StoreError(f"{self._path}: closed")
        if self._connection is None:
            connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.executescript(_SCHEMA)
            except sqlite3.Error:
                connection.close()
                raise
            self._connection = connection
        return self._connection


def new_install() -> str:
    return secrets.token_hex(16)


def open_store(given: Store | str | Path | None) -> Store:
    """The store that an application asked for: its own, a file, or none that lasts."""
    if given is None:
        return MemoryStore()
    return FileStore(given) if isinstance(given, str | Path) else given
