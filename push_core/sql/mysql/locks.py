"""Named locks of the server: they hold back whoever asks for the same name, on whichever connection."""

import hashlib

from sqlalchemy import Connection

LONGEST = 64  # characters of a name (MySQL)


def lock_name(conn: Connection, what: str) -> str:
    """Names are the whole server's: this one is of our database."""
    database = conn.exec_driver_sql("SELECT DATABASE()").scalar_one()
    name = f"taco {what} {database}"
    if len(name) <= LONGEST:
        return name
    return f"taco {what} {hashlib.sha256(database.encode()).hexdigest()[:24]}"
