"""SQLite's errors (https://sqlite.org/rescode.html) and what they ask for."""

from push_core.sql.trouble import Trouble, Verdict

_SENTENCES: tuple[tuple[str, str], ...] = (
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


def judge(error: BaseException) -> Verdict:
    name = getattr(error, "sqlite_errorname", "")
    for prefix, sentence in _SENTENCES:
        if name.startswith(prefix):
            return Verdict(Trouble.REFUSED, f"{sentence} ({name})")
    return Verdict(Trouble.FAULT, f"failed: {type(error).__name__} {name}".rstrip())
