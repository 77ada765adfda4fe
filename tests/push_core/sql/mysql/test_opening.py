"""What a server must be before a program uses it, and what is said when it isn't."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from pymysql.cursors import Cursor
from sqlalchemy import MetaData, inspect

from ops.cluster.servers import MariaServer
from push_core.errors import ConfigError, Unavailable
from push_core.messages.sql import SqlMessages
from push_core.sql import tables
from push_core.sql.database import Database
from push_core.sql.engine import place_of
from push_core.sql.migrate import Version
from push_core.sql.upgrade import status, upgrade_store
from push_core.sql.window import complaint
from tests.support.maria import Tables, connect

KNOWN = ["m0001", "m0002", "m0003"]


@pytest.mark.parametrize(
    ("at", "works_with", "said"),
    [
        ("m0003", "m0002", None),
        (None, None, "no tables yet: run `taco db upgrade`"),
        ("m0002", "m0001", "at step m0002, and this release needs m0003: run `taco db upgrade`"),
        ("m0007", "m0003", None),
        ("m0007", "m0001", None),
        (
            "m0007",
            "m0004",
            "works with releases that know step m0004; this one knows m0003 and nothing later: install a newer release",
        ),
    ],
)
def test_a_release_works_with_its_own_tables_and_with_newer_ones_that_say_so(
    at: str | None, works_with: str | None, said: str | None
) -> None:
    found = complaint(Version(at, works_with), KNOWN)
    assert found is None if said is None else said in str(found)


@pytest.fixture
def cursor(maria_server: MariaServer) -> Iterator[Cursor]:
    with connect(maria_server.dsn) as admin, admin.cursor() as made:
        made.execute("CREATE DATABASE opening")
        admin.select_db("opening")
        yield made
        made.execute("DROP DATABASE opening")


@pytest.fixture
def dsn(maria_server: MariaServer, cursor: Cursor) -> str:
    return maria_server.dsn_of("opening")


async def test_a_program_never_makes_the_tables_of_a_server(dsn: str, cursor: Cursor) -> None:
    with pytest.raises(ConfigError, match="has no tables yet: run `taco db upgrade`"):
        await SqlMessages.open(dsn)
    assert cursor.execute("SHOW TABLES") == 0


async def test_tables_of_the_next_release_are_used_if_they_say_so(dsn: str, cursor: Cursor) -> None:
    upgrade_store(dsn, "messages")
    cursor.execute("UPDATE taco_messages_version SET version_num = 'm9999'")
    await (await SqlMessages.open(dsn)).close()
    assert upgrade_store(dsn, "messages").at == "m9999", "an upgrade of this release leaves them alone"
    cursor.execute("UPDATE taco_messages_window SET works_with = 'm9998'")
    with pytest.raises(ConfigError, match="install a newer release"):
        await SqlMessages.open(dsn)
    with pytest.raises(ConfigError, match="install a newer release"):
        upgrade_store(dsn, "messages")


async def test_an_upgrade_that_was_cut_off_is_run_again(dsn: str, cursor: Cursor) -> None:
    upgrade_store(dsn, "messages")
    cursor.execute("DROP TABLE later, cursors, issuer_leases")
    cursor.execute("DROP INDEX idempotency_created ON idempotency")
    cursor.execute("DELETE FROM taco_messages_version")
    assert status(dsn, "messages").problem is not None
    assert upgrade_store(dsn, "messages").problem is None
    await (await SqlMessages.open(dsn)).close()
    assert cursor.execute("SHOW INDEX FROM idempotency WHERE Key_name = 'idempotency_created'") == 1


@pytest.mark.parametrize("metadata", [tables.MESSAGES, tables.DEVICES])
def test_the_steps_make_the_columns_keys_and_indexes_that_the_code_expects(
    maria_tables: Tables, metadata: MetaData
) -> None:
    engine = place_of(maria_tables.dsn).make_engine()
    made = inspect(engine)
    for table in metadata.sorted_tables:
        columns = made.get_columns(table.name)
        assert [column["name"] for column in columns] == [column.name for column in table.columns]
        assert made.get_pk_constraint(table.name)["constrained_columns"] == [c.name for c in table.primary_key]
        assert {index["name"] for index in made.get_indexes(table.name)} == {index.name for index in table.indexes}
        names = [c["name"] for c, of in zip(columns, table.columns, strict=True) if isinstance(of.type, tables.Name)]
        collations = {c["type"].collation for c in columns if c["name"] in names}  # type: ignore[attr-defined]
        assert collations <= {"utf8mb4_nopad_bin"}
    engine.dispose()


def test_upgrades_take_turns(dsn: str) -> None:
    schemas = ["messages", "devices"] * 3
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda schema: upgrade_store(dsn, schema), schemas))
    assert [one.problem for one in found] == [None] * 6


async def test_a_server_that_may_lose_what_it_accepted_is_refused_unless_that_is_wished(
    maria_tables: Tables, maria_server: MariaServer
) -> None:
    with connect(maria_server.dsn) as admin, admin.cursor() as root:
        root.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        try:
            with pytest.raises(ConfigError, match="SET GLOBAL innodb_flush_log_at_trx_commit = 1"):
                await SqlMessages.open(maria_tables.dsn)
            await (await SqlMessages.open(maria_tables.dsn + "&durability=relaxed")).close()
        finally:
            root.execute("SET GLOBAL innodb_flush_log_at_trx_commit = 1")


async def test_every_connection_is_set_up_as_the_house_wants_it(maria_tables: Tables) -> None:
    database = await Database.open(maria_tables.dsn, "messages", writers=1, readers=1)

    def variables(conn: Any) -> tuple[Any, ...]:
        ask = "SELECT @@tx_isolation, @@autocommit, @@sql_mode, @@collation_connection, @@innodb_lock_wait_timeout, @@max_statement_time"
        return tuple(conn.exec_driver_sql(ask).one())

    mode = "STRICT_TRANS_TABLES,STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
    assert await database.write(variables) == ("READ-COMMITTED", 0, mode, "utf8mb4_nopad_bin", 3, 3.5)
    assert await database.read(variables) == ("REPEATABLE-READ", 1, mode, "utf8mb4_nopad_bin", 3, 3.5)
    await database.close()


async def test_a_server_without_a_free_connection_says_what_to_raise(
    maria_tables: Tables, maria_server: MariaServer
) -> None:
    password = maria_server.dsn.split(":")[2].split("@")[0]
    with connect(maria_server.dsn) as admin, admin.cursor() as root:
        root.execute(f"CREATE USER small IDENTIFIED BY '{password}' WITH MAX_USER_CONNECTIONS 2")
        root.execute("GRANT ALL ON contracts.* TO small")
        try:
            store = await SqlMessages.open(maria_tables.dsn.replace("taco:", "small:") + "&writers=1&readers=1")
            await store.cursor("x")
            await store.move_cursor("x", 1)
            with pytest.raises(Unavailable, match="has no connection left for this user"):
                await SqlMessages.open(maria_tables.dsn.replace("taco:", "small:") + "&writers=1&readers=1")
            await store.ping()
            await store.close()
        finally:
            root.execute("DROP USER small")


@pytest.mark.parametrize(
    ("dsn", "sentence"),
    [
        ("mysql://db", "names its database"),
        ("mysql:///taco", "names its host"),
        ("mysql+aiomysql://db/taco", "the driver is pymysql"),
        ("mysql://db/taco?reader=3", "reader is not an option of mysql://; did you mean readers?"),
        ("mysql://db/taco?readers=0", "option readers of mysql:// is a whole number from 1 to 64, got '0'"),
        ("mysql://db/taco?readers=1&readers=2", "option readers of mysql:// is given twice"),
        ("mysql://db/taco?tls=maybe", "option tls of mysql:// is one of off, prefer, require, verify, got 'maybe'"),
        (
            "mysql://db/taco?tls=verify&ca=/nowhere.pem",
            "option ca of mysql://: /nowhere.pem can't be used: No such file",
        ),
    ],
)
async def test_an_option_that_cannot_be_used_is_named(dsn: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as refused:
        await SqlMessages.open(dsn)
    assert sentence in str(refused.value)
