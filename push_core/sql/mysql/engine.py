"""Connections to MySQL and MariaDB: bounded in time, strict about values, utf8mb4 compared byte by byte.

What writes runs READ COMMITTED: each statement sees what others have committed, so that a key that somebody else was first with can be
read back, and ranges are not locked. What reads runs without a transaction: each statement is one, and two round trips are saved
(`forms.snapshot` where several must agree).
"""

import ssl
from typing import Any

from pymysql.connections import Connection as Driver
from pymysql.constants import CLIENT, SERVER_STATUS
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.pool import NullPool

from push_core.errors import ConfigError
from push_core.sql.mysql.options import Options

# No NO_BACKSLASH_ESCAPES (`literals.py`), no ANSI_QUOTES, no PIPES_AS_CONCAT; strict, so that nothing is cut to fit.
_SQL_MODE = "STRICT_TRANS_TABLES,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"


class _Connection(Driver):
    """Says COMMIT and ROLLBACK only when there may be something to end: the driver would after each read."""

    reads = False
    server_status: int  # as the server last said after a statement that gave no rows

    @property
    def in_transaction(self) -> bool:
        if not self.open:
            return False
        # A reader has one only if it said so; a writer from its first statement on, also one that locked rows by reading them.
        return not self.reads or bool(self.server_status & SERVER_STATUS.SERVER_STATUS_IN_TRANS)

    @property
    def is_mariadb(self) -> bool:
        return "mariadb" in str(self.get_server_info()).lower()  # type: ignore[no-untyped-call]

    def commit(self) -> None:
        if self.in_transaction:
            super().commit()

    def rollback(self) -> None:
        if self.in_transaction:
            super().rollback()

    def set_up(self, options: Options, timeout_s: float) -> None:
        collation = "utf8mb4_nopad_bin" if self.is_mariadb else "utf8mb4_0900_bin"
        settings: dict[str, Any] = {
            "sql_mode": f"'{_SQL_MODE}'",
            "innodb_lock_wait_timeout": options.lock_wait_s,
            "lock_wait_timeout": options.lock_wait_s,
            "time_zone": "'+00:00'",
        }
        # The server gives up first, so that nothing of ours runs on there after we did.
        patience = max(timeout_s - 0.5, 0.5)
        if self.is_mariadb:
            settings["max_statement_time"] = patience
            settings["in_predicate_conversion_threshold"] = 0  # it would make a join, and a table scan, of many keys
        else:
            settings["max_execution_time"] = int(patience * 1_000)
        with self.cursor() as cursor:
            cursor.execute(f"SET NAMES utf8mb4 COLLATE {collation}")
            cursor.execute("SET SESSION " + ", ".join(f"{name} = {value}" for name, value in settings.items()))
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")

    def become_reader(self) -> None:
        with self.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        self.autocommit(True)
        self.reads = True


def make_engine(options: Options, *, timeout_s: float | None = None) -> Engine:
    """An engine without a pool: each thread of the adapter keeps a connection of its own. `timeout_s` for work that may take longer than
    the DSN's timeout. Raises ConfigError when the file of certificates can't be used."""
    url, timeout = options.url, timeout_s or options.timeout_s
    arguments: dict[str, Any] = {
        "host": url.host,
        "port": url.port or 3306,
        "user": url.username,
        "password": (str(url.password) if url.password is not None else "").encode(),
        "database": url.database,
        "unix_socket": options.socket,
        "charset": "utf8mb4",
        "connect_timeout": options.connect_timeout_s,
        "read_timeout": timeout,
        "write_timeout": timeout,
        "client_flag": CLIENT.FOUND_ROWS,  # an UPDATE counts the rows it found, also those that were so already
        "autocommit": False,
        **_tls(options),
    }

    engine = create_engine(
        "mysql+pymysql://",
        creator=lambda: _Connection(**arguments),
        poolclass=NullPool,
        hide_parameters=True,
        # Text that goes out as it is: a percent sign in it is no placeholder.
        execution_options={"no_parameters": True},
    )
    # After SQLAlchemy's own, which sets another collation.
    event.listen(engine, "connect", lambda connection, _: connection.set_up(options, timeout))
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Any) -> None:
    if connection.get_execution_options().get("reading", False):
        driver = connection.connection.dbapi_connection
        if not driver.reads:
            driver.become_reader()


def _tls(options: Options) -> dict[str, Any]:
    if options.tls == "off":
        return {"ssl_disabled": True}
    if options.tls == "prefer":
        return {}
    try:
        context = ssl.create_default_context(cafile=options.ca)
    except OSError as error:
        raise ConfigError(f"option ca of mysql://: {options.ca} can't be used: {error.strerror or error}") from None
    if options.tls == "require":  # encrypted, to whoever answers
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return {"ssl": context}
