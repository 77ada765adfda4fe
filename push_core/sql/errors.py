"""A driver's errors as ours, with a sentence that says what to look at. No SQL and no values: they may be somebody's message."""

from sqlalchemy.exc import DBAPIError

from push_core.errors import DeadlineExceeded, TacoError, Unavailable
from push_core.sql.mysql import errors as mysql
from push_core.sql.sqlite import errors as sqlite
from push_core.sql.trouble import Trouble, Verdict


class Denied(Unavailable):
    """The server does not let us in; who starts a program takes it for a fault of the configuration."""


def judge(error: DBAPIError) -> Verdict:
    original = error.orig or error
    if hasattr(original, "sqlite_errorname") or type(original).__module__ == "sqlite3":
        return sqlite.judge(original)
    return mysql.judge(original)


def translate(verdict: Verdict, where: str, *, committing: bool = False) -> TacoError:
    """`where` names the store for people (never a password). `committing`: COMMIT had been sent. What is no fault of the outside world is a
    fault of ours: `internal`."""
    sentence = f"{where} {verdict.sentence}"
    if verdict.trouble is Trouble.FAULT:
        return TacoError(sentence)
    if committing and verdict.trouble in (Trouble.LOST, Trouble.SILENT):
        return DeadlineExceeded(f"{sentence} while committing: whether it was done is unknown")
    if verdict.trouble is Trouble.DENIED:
        return Denied(sentence)
    return Unavailable(f"{sentence}; nothing was done")
