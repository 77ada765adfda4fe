"""Whether this release and a store's tables work together. Tables are brought forward first, programs replaced one by one after that: so a
release works with tables that are ahead of it, as far as these say so, and never with older ones.
"""

from collections.abc import Sequence

from sqlalchemy import Connection

from push_core.errors import ConfigError
from push_core.sql.engine import Place
from push_core.sql.migrate import Version, steps_known, version_of

UPGRADE = "run `taco db upgrade`"
_OLDEST_MARIADB = (10, 6)  # FOR UPDATE SKIP LOCKED
_OLDEST_MYSQL = (8, 0, 19)  # VALUES ROW(…)


def complaint(version: Version, known: Sequence[str]) -> str | None:
    """What is wrong between tables and a release that knows these steps (oldest first), in words that go on after the store's name.

    >>> complaint(Version("m0002", "m0001"), ["m0001"]), complaint(Version("m0001", "m0001"), ["m0001", "m0002"])
    (None, 'has its tables at step m0001, and this release needs m0002: run `taco db upgrade`')
    """
    newest = known[-1]
    if version.at == newest:
        return None
    if version.at is None:
        return f"has no tables yet: {UPGRADE}"
    if version.at in known:
        return f"has its tables at step {version.at}, and this release needs {newest}: {UPGRADE}"
    if version.works_with in known:
        return None
    return (
        f"has its tables at step {version.at}, which works with releases that know step {version.works_with}; this one knows "
        f"{newest} and nothing later: install a newer release"
    )


def needs_upgrade(conn: Connection, schema: str, where: str) -> bool:
    """Asked before an embedded store is upgraded, so that opening one that is current waits for no writer. Raises ConfigError when the
    tables are ahead of what this release works with."""
    version, known = version_of(conn, schema), steps_known(schema)
    if version.at is None or (version.at in known and version.at != known[-1]):
        return True
    if sentence := complaint(version, known):
        raise ConfigError(f"{where} {sentence}")
    return False


def check_server(conn: Connection, schema: str, place: Place) -> None:
    """Raises ConfigError for a server that this adapter can't keep its promises on, or whose tables this release doesn't work with."""
    check_promises(conn, place)
    if sentence := complaint(version_of(conn, schema), steps_known(schema)):
        raise ConfigError(f"{place.name} {sentence}")


def check_promises(conn: Connection, place: Place) -> None:
    dialect = conn.dialect
    mariadb = dialect.is_mariadb  # type: ignore[attr-defined]
    oldest = _OLDEST_MARIADB if mariadb else _OLDEST_MYSQL
    if tuple(dialect.server_version_info or ())[: len(oldest)] < oldest:
        name = "MariaDB" if mariadb else "MySQL"
        raise ConfigError(f"{place.name} is too old: {name} {'.'.join(map(str, oldest))} or newer is needed")
    flush = conn.exec_driver_sql("SELECT @@innodb_flush_log_at_trx_commit").scalar_one()
    if flush != 1 and place.options is not None and place.options.durability == "strict":
        raise ConfigError(
            f"{place.name} runs with innodb_flush_log_at_trx_commit = {flush} and loses what it accepted last when its machine dies: "
            "SET GLOBAL innodb_flush_log_at_trx_commit = 1 and put it into the server's configuration; or accept that, "
            "with durability=relaxed in the DSN"
        )
