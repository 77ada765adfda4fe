"""A driver's errors as ours, with a sentence that says what to look at. No SQL and no values: they may be somebody's message."""

from sqlalchemy.exc import DBAPIError

from push_core.errors import TacoError, Unavailable

_SQLITE: tuple[tuple[str, str], ...] = (
    ("SQLITE_BUSY", "is locked by another process"),
    ("SQLITE_LOCKED", "is locked by another process"),
    ("SQLITE_FULL", "can't grow: the disk is full"),
    ("SQLITE_READONLY", "can't be written: the file or its folder is read only"),
    ("SQLITE_CORRUPT", "is damaged; stop the programs and restore it from a backup"),
    ("SQLITE_NOTADB", "is damaged or not a database; stop the programs and restore it from a backup"),
    ("SQLITE_CANTOPEN", "can't be opened: is the folder there, and may this user write to it?"),
    ("SQLITE_PERM", "can't be opened: this user has no permission"),
    ("SQLITE_IOERR", "can't be read or written: the disk reports an error, or is full"),
)


def translate(error: DBAPIError, where: str) -> TacoError:
    """`where` names the store for people (never a password). What is no fault of the outside world is a fault of ours: `internal`."""
    name = getattr(error.orig, "sqlite_errorname", "")
    for prefix, sentence in _SQLITE:
        if name.startswith(prefix):
            return Unavailable(f"{where} {sentence} ({name})")
    if error.connection_invalidated:
        return Unavailable(f"{where}: the connection was lost")
    return TacoError(f"{where}: {type(error.orig).__name__} {name}")


def is_locked(error: DBAPIError) -> bool:
    """Another process holds the write lock: asking again at once is of no use."""
    return getattr(error.orig, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
