"""What an SQL store says of itself (`push_core.facts`), and how many connections a process of ours keeps to it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from push_core.facts import Facts, ahead_ms
from push_core.sql.engine import Place, place_of
from push_core.sql.errors import judge, translate

R = TypeVar("R")

_SERVER = ("innodb_flush_log_at_trx_commit", "max_connections", "read_only", "log_bin", "sync_binlog")
_CONNECTED = "Threads_connected"
# As the adapters open them; one more each for work that is put aside.
_MESSAGES, _DEVICES, _CONTROL = (2, 2), (1, 1), (1, 1)


def connections_of(messages: list[str], devices: str) -> dict[str, int]:
    """How many connections one process keeps at most to each server (by its place, without a password) with these DSNs."""
    kept: dict[str, int] = {}
    for dsn, (writers, readers) in ((dsn, _MESSAGES) for dsn in messages):
        _add(kept, place_of(dsn, writers=writers, readers=readers))
    for writers, readers in (_DEVICES, _CONTROL):
        _add(kept, place_of(devices, writers=writers, readers=readers))
    return kept


def exists(dsn: str) -> bool:
    """False for a file that nobody has made yet."""
    url = make_url(dsn)
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        return True
    return Path(url.database).exists()


def sql_facts(dsn: str) -> Facts:
    """Blocks. Raises ConfigError for a bad DSN or when the server refuses the user, Unavailable when it can't be asked."""
    place = place_of(dsn)
    return _run(place, lambda conn: _of_file(conn, place) if place.embedded else _of_server(conn, place))


def server_of(place: Place) -> str:
    """What stands behind a place: databases of one server share its connections."""
    if place.options is None:
        return place.name
    url = place.options.url
    return f"{url.host or place.options.socket}:{url.port or 3306}"


def _run(place: Place, work: Callable[[Connection], R]) -> R:
    engine = place.make_engine()
    try:
        with engine.connect() as conn:
            return work(conn)
    except DBAPIError as error:
        raise translate(judge(error), place.name) from None
    finally:
        engine.dispose()


def _of_file(conn: Connection, place: Place) -> Facts:
    version = conn.exec_driver_sql("SELECT sqlite_version()").scalar_one()
    settings = {name: conn.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("synchronous", "journal_mode")}
    return Facts(place.name.removeprefix("the store "), f"SQLite {version}", settings=settings)


def _of_server(conn: Connection, place: Place) -> Facts:
    began = time.time()
    theirs = float(conn.exec_driver_sql("SELECT UNIX_TIMESTAMP(NOW(3))").scalar_one())
    ahead = ahead_ms(theirs, began, time.time())
    version = str(conn.exec_driver_sql("SELECT VERSION()").scalar_one())
    product = "MariaDB" if conn.dialect.is_mariadb else "MySQL"  # type: ignore[attr-defined]
    names = ", ".join(f"'{name}'" for name in _SERVER)
    settings: dict[str, int | str] = {
        str(name): _number(value)
        for name, value in conn.exec_driver_sql(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({names})")
    }
    for name, value in conn.exec_driver_sql(f"SHOW GLOBAL STATUS WHERE Variable_name = '{_CONNECTED}'"):
        settings[str(name)] = _number(value)
    return Facts(server_of(place), f"{product} {version.partition('-')[0]}", ahead, settings)


def _number(value: object) -> int | str:
    text = str(value)
    return int(text) if text.isdigit() else text


def _add(kept: dict[str, int], place: Place) -> None:
    if not place.embedded:
        server = server_of(place)
        kept[server] = kept.get(server, 0) + place.writers + place.readers + 1
