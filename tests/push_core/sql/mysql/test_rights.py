"""The rights that docs/running.md names are enough, and what a missing one says."""

from collections.abc import Iterator

import pytest
from pymysql.cursors import Cursor

from ops.cluster.servers import MariaServer
from push_core.control.sql import SqlControl
from push_core.devices.sql import SqlDevices
from push_core.errors import Unavailable
from push_core.ids import first_id_at
from push_core.messages.sql import SqlMessages
from push_core.models import App
from push_core.sql.upgrade import upgrade_store
from tests.contracts.messages_support import NOW, new
from tests.support.maria import connect

PROGRAM = "SELECT, INSERT, UPDATE, DELETE"
DISPATCHER = PROGRAM + ", ALTER, CREATE, DROP"
UPGRADER = DISPATCHER + ", INDEX, REFERENCES"
PASSWORD = "not-a-secret"


@pytest.fixture
def root(maria_server: MariaServer) -> Iterator[Cursor]:
    with connect(maria_server.dsn) as admin, admin.cursor() as cursor:
        cursor.execute("CREATE DATABASE rights")
        for name, rights in (("program", PROGRAM), ("dispatcher", DISPATCHER), ("upgrader", UPGRADER)):
            cursor.execute(f"CREATE USER {name} IDENTIFIED BY '{PASSWORD}'")
            cursor.execute(f"GRANT {rights} ON rights.* TO {name}")
        yield cursor
        cursor.execute("DROP USER program, dispatcher, upgrader")
        cursor.execute("DROP DATABASE rights")


def dsn(server: MariaServer, user: str, options: str = "") -> str:
    return f"mysql://{user}:{PASSWORD}@127.0.0.1:{server.port}/rights{options}"


async def test_each_user_can_do_its_part_and_no_more(maria_server: MariaServer, root: Cursor) -> None:
    for schema in ("messages", "devices"):
        assert upgrade_store(dsn(maria_server, "upgrader"), schema).problem is None
    program = dsn(maria_server, "program")
    messages = await SqlMessages.open(program)
    await messages.commit([new(1, "a", key="k")], now=NOW, oldest_ms=10**12)
    await messages.lease_issuer("x", now=NOW, ttl_ms=1)
    devices = await SqlDevices.open(program)
    await devices.put_apps([App(name="a")])
    control = await SqlControl.open(program)
    assert await control.put("x", 1) is not None
    with pytest.raises(Unavailable, match="does not allow this user"):
        await messages.prune(first_id_at(2_000_000_000_000))
    for store in (messages, devices, control):
        await store.close()
    sweeping = await SqlMessages.open(dsn(maria_server, "dispatcher", "?partition_days=12"))
    await sweeping.prune(first_id_at(2_000_000_000_000))
    await sweeping.close()
    alone = await SqlMessages.open(dsn(maria_server, "program", "?partition_days=0"))
    assert await alone.prune(first_id_at(2_000_000_000_000)) == 0
    await alone.close()
