"""What a Redis said or didn't, as the errors that programs know: `Unavailable` when a command was certainly not done, `DeadlineExceeded`
when nobody can tell."""

import asyncio
import errno
import os
import socket
import ssl

from redis import exceptions as driver

from push_core.errors import DeadlineExceeded, Unavailable

NOT_DONE: dict[str, str] = {
    "NOAUTH": "asks for a password; put it into the DSN (scheme://:PASSWORD@host)",
    "WRONGPASS": "refuses the user or password of the DSN",
    "NOPERM": "does not permit its user what Taco does: commands on keys with its prefix, scripts included",
    "LOADING": "is loading its data",
    "READONLY": "is a read-only replica",
    "MASTERDOWN": "is a replica without its master",
    "NOREPLICAS": "has too few replicas to write",
    "CLUSTERDOWN": "belongs to a Cluster that is down",
    "MOVED": "is a node of a Cluster: use redis+cluster://",
    "ASK": "belongs to a Cluster that is moving slots",
    "TRYAGAIN": "belongs to a Cluster that is moving slots",
    "OOM": "is out of memory: raise maxmemory",
    "MISCONF": "takes no writes because it can't save to its disk",
    "BUSY": "is busy with a script",
    "NOSCRIPT": "forgets scripts as soon as they are loaded",
    "LAYOUT": "holds routes in another number of buckets: give all programs the same option `buckets`",
}
# Words that servers put into texts without a code; redis-py makes classes of some and drops the code of others.
_PLAIN: tuple[tuple[str, str], ...] = (
    ("authentication required", NOT_DONE["NOAUTH"]),
    ("max number of clients", "has no connection left: raise maxclients"),
    ("without any password configured", "has no password, but the DSN gives one"),
    ("no password is set", "has no password, but the DSN gives one"),
    ("wrong number of arguments for 'auth'", "is too old for user names: give a password only"),
    ("invalid password", NOT_DONE["WRONGPASS"]),
    ("db index is out of range", "does not have the database of the DSN"),
    ("select is not allowed in cluster mode", "is a node of a Cluster: use redis+cluster://"),
    ("cluster support disabled", "is no Cluster: use redis://"),
)
_OF_CLASS: tuple[tuple[type[Exception], str], ...] = (
    (driver.AuthenticationError, NOT_DONE["WRONGPASS"]),
    (driver.BusyLoadingError, NOT_DONE["LOADING"]),
    (driver.ReadOnlyError, NOT_DONE["READONLY"]),
    (driver.NoPermissionError, NOT_DONE["NOPERM"]),
    (driver.OutOfMemoryError, NOT_DONE["OOM"]),
    (driver.NoScriptError, NOT_DONE["NOSCRIPT"]),
    (driver.MovedError, NOT_DONE["MOVED"]),
    (driver.AskError, NOT_DONE["ASK"]),
    (driver.TryAgainError, NOT_DONE["TRYAGAIN"]),
    (driver.MasterDownError, NOT_DONE["MASTERDOWN"]),
    (driver.ClusterDownError, NOT_DONE["CLUSTERDOWN"]),
)


def answered(who: str, error: Exception) -> Unavailable:
    """A command was answered with an error. `who` is the setting and the server: `[stores] presence: Redis at host:port`."""
    why = _reason(error)
    if why is not None:
        return Unavailable(f"{who} {why}")
    return DeadlineExceeded(f"{who} answered with an error: {_first_line(error)}")


def unreachable(who: str, error: BaseException) -> Unavailable:
    """No command was sent."""
    return Unavailable(f"{who} {_reason(error) or f'cannot be reached: {_why(error)}'}")


def lost(who: str, error: BaseException) -> Unavailable:
    """Commands were sent, and no answer will come any more. A server that is loading says so and hangs up: then nothing was done."""
    why = _reason(error)
    if why is not None:
        return Unavailable(f"{who} {why}")
    if isinstance(error, TimeoutError | driver.TimeoutError):
        return DeadlineExceeded(f"{who} did not answer in time")
    return DeadlineExceeded(f"{who} was lost before it answered")


def _reason(error: BaseException) -> str | None:
    if not isinstance(error, driver.RedisError):
        return None
    text = str(error)
    code = text.partition(" ")[0].rstrip(":")
    if code in NOT_DONE:
        return NOT_DONE[code]
    lower = text.lower()
    for words, why in _PLAIN:
        if words in lower:
            return why
    return next((why for kind, why in _OF_CLASS if isinstance(error, kind)), None)


def _why(error: BaseException) -> str:
    """The reason below the driver's own words, which name addresses again."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return "its name is not known"
        if isinstance(cause, ssl.SSLError):
            return f"TLS failed ({cause.reason or 'no reason given'})"
        if isinstance(cause, OSError) and cause.errno is not None and cause.errno in errno.errorcode:
            return os.strerror(cause.errno).lower()
        if isinstance(cause, asyncio.TimeoutError | TimeoutError | driver.TimeoutError):
            return "no answer in time"
        cause = cause.__cause__ or (cause.__context__ if not cause.__suppress_context__ else None)
    return "the connection was closed"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
