"""MySQL's and MariaDB's errors and what they ask for.

Numbers: https://mariadb.com/kb/en/mariadb-error-codes/, https://dev.mysql.com/doc/mysql-errors/8.0/en/.
"""

from push_core.sql.trouble import Trouble, Verdict

_LOST = frozenset(
    {1053, 1077, 1079, 1080, 1152, 1158, 1159, 1160, 1161, 1184, 1927, 2006, 2013, 2014, 2045, 2055, 4031}
)
_CONNECTING = 2003
LOCK_NOT_FREE = 1205
_READ_ONLY = frozenset({1290, 1792, 1836})  # a primary that became a replica: its name may lead to the new one by now
_SENTENCES: dict[int, tuple[Trouble, str]] = {
    LOCK_NOT_FREE: (Trouble.HELD, "was busy: a lock was not free in time"),
    1213: (Trouble.AGAIN, "undid a transaction for another one, again and again (deadlock)"),
    1020: (Trouble.AGAIN, "undid a transaction for another one, again and again"),
    1021: (Trouble.REFUSED, "can't grow: its disk is full"),
    1114: (Trouble.REFUSED, "can't grow: a table or the disk is full"),
    1041: (Trouble.REFUSED, "is out of memory"),
    1038: (Trouble.REFUSED, "is out of memory for sorting"),
    1040: (Trouble.REFUSED, "has no connection left: raise max_connections, or lower writers and readers in the DSNs"),
    1203: (Trouble.REFUSED, "has no connection left for this user: raise max_user_connections"),
    1226: (Trouble.REFUSED, "has no connection left for this user: raise its limits"),
    1129: (Trouble.REFUSED, "blocks this host after failed connections: FLUSH HOSTS on the server"),
    1130: (Trouble.DENIED, "does not let this host connect: create the user for it"),
    1044: (Trouble.DENIED, "does not let this user use the database: grant it"),
    1045: (Trouble.DENIED, "refused the user or the password of the DSN"),
    1698: (Trouble.DENIED, "refused the user or the password of the DSN"),
    1049: (Trouble.DENIED, "has no such database: create it, then run `taco db upgrade`"),
    1142: (
        Trouble.REFUSED,
        "does not allow this user a statement: docs/running.md names the rights that it needs",
    ),
    1227: (Trouble.REFUSED, "does not allow this user a statement: docs/running.md names the rights that it needs"),
    1146: (Trouble.REFUSED, "has not the tables of this release: run `taco db upgrade`"),
    1290: (Trouble.REFUSED, "can't be written: the server is read only"),
    1792: (Trouble.REFUSED, "can't be written: the server is read only"),
    1836: (Trouble.REFUSED, "can't be written: the server is read only"),
    1317: (Trouble.SILENT, "ended a statement that somebody killed"),
    1028: (Trouble.REFUSED, "failed while sorting: is its disk full?"),
    1030: (Trouble.REFUSED, "has trouble with its storage: see the server's log"),
    1153: (Trouble.FAULT, "got more than its max_allowed_packet in one statement: raise it to 16 MiB or more"),
    3024: (Trouble.SILENT, "ended a statement that took too long"),
    1969: (Trouble.SILENT, "ended a statement that took too long"),
}


def judge(error: BaseException) -> Verdict:
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    if isinstance(error.__context__, TimeoutError) or isinstance(error.__cause__, TimeoutError):
        return Verdict(Trouble.SILENT, "did not answer in time", reconnect=True)
    if number == _CONNECTING:
        reason = error.__context__ or error.__cause__
        said = getattr(reason, "strerror", None) or str(reason or "no reason given")
        return Verdict(Trouble.REFUSED, f"can't be reached: {said}", reconnect=True)
    if number in _LOST or type(error).__name__ == "InterfaceError":
        return Verdict(Trouble.LOST, f"ended the connection ({number})", reconnect=True)
    if number in _SENTENCES:
        trouble, sentence = _SENTENCES[number]
        return Verdict(trouble, f"{sentence} ({number})", reconnect=number in _READ_ONLY)
    return Verdict(Trouble.FAULT, f"failed: {type(error).__name__} {number}")
