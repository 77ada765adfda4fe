"""Databases of the tests' own on the MariaDB of the session (`maria_server`)."""

import pymysql
import pytest
from sqlalchemy.engine import make_url

from ops.cluster.servers import MariaServer
from push_core.sql.upgrade import upgrade_store

# Nobody moves rows about while tests look at them; partitions have tests of their own.
OPTIONS = "?partition_days=0"


def connect(dsn: str) -> "pymysql.connections.Connection[pymysql.cursors.Cursor]":
    url = make_url(dsn)
    return pymysql.connect(
        host=url.host,
        port=url.port or 3306,
        user=url.username,
        password=url.password or "",
        database=url.database,
        autocommit=True,
    )


class Tables:
    """A database with the tables of both histories. `empty()` costs a few milliseconds, making one some hundreds."""

    def __init__(self, server: MariaServer, name: str) -> None:
        with connect(server.dsn) as admin, admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        self.dsn = server.dsn_of(name) + OPTIONS
        for schema in ("messages", "devices"):
            upgrade_store(self.dsn, schema)
        with connect(self.dsn) as admin, admin.cursor() as cursor:
            cursor.execute("SHOW TABLES")
            self._names = [row[0] for row in cursor.fetchall() if not row[0].startswith("taco_")]

    def empty(self) -> None:
        with connect(self.dsn) as admin, admin.cursor() as cursor:
            for name in self._names:
                if name != "control_counter":
                    cursor.execute(f"DELETE FROM {name}")
            cursor.execute("UPDATE control_counter SET version = 0")


@pytest.fixture(scope="session")
def maria_tables(maria_server: MariaServer) -> Tables:
    return Tables(maria_server, "contracts")


@pytest.fixture(scope="session")
def more_maria_tables(maria_server: MariaServer) -> Tables:
    return Tables(maria_server, "more_contracts")
