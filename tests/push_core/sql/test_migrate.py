"""The histories of the tables: they make what `tables.py` says, once, however many open the file, and wherever they are installed."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, create_engine

import push_core
from push_core.sql import tables
from push_core.sql.database import Database
from push_core.sql.migrate import config_for, upgrade, version_of, version_table

SCHEMAS = {"messages": tables.MESSAGES, "devices": tables.DEVICES}
OURS = {f"taco_{schema}_{kind}" for schema in SCHEMAS for kind in ("version", "window")}


@pytest.mark.parametrize("schema", SCHEMAS)
async def test_the_steps_make_the_tables_that_the_code_expects(schema: str) -> None:
    database = await Database.open("sqlite://", schema)

    def differences(conn: Connection) -> list[object]:
        options = {"version_table": version_table(schema), "compare_type": True}
        found = compare_metadata(MigrationContext.configure(conn, opts=options), SCHEMAS[schema])
        return [step for step in found if getattr(step[1], "name", "") not in OURS]

    def definitions(conn: Connection) -> dict[str, str]:
        rows = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table' ORDER BY name")
        return {name: sql for name, sql in rows if name not in OURS}

    assert await database.read(differences) == []
    made = await database.read(definitions)
    await database.close()
    expected = await asyncio.to_thread(_definitions_of, SCHEMAS[schema])
    assert {name: " ".join(sql.split()) for name, sql in made.items()} == expected


def _definitions_of(metadata: MetaData) -> dict[str, str]:
    engine = create_engine("sqlite://")
    with engine.begin() as conn:
        metadata.create_all(conn)
        rows = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'table'").fetchall()
    engine.dispose()
    return {name: " ".join(sql.split()) for name, sql in rows}


@pytest.mark.parametrize("schema", SCHEMAS)
def test_each_history_is_one_line(schema: str) -> None:
    script = ScriptDirectory.from_config(config_for(schema))
    assert len(script.get_heads()) == 1


async def test_programs_that_start_together_take_turns(tmp_path: Path) -> None:
    dsn = f"sqlite:///{tmp_path / 'x.sqlite'}"
    stores = await asyncio.gather(*[Database.open(dsn, schema, readers=1) for schema in SCHEMAS for _ in range(3)])
    for store in stores:
        rows = await store.read(lambda conn: conn.exec_driver_sql("SELECT name FROM sqlite_master").fetchall())
        assert {"messages", "devices", *map(version_table, SCHEMAS)} <= {row[0] for row in rows}
        await store.close()


async def test_stores_of_one_process_are_brought_forward_at_the_same_time(tmp_path: Path) -> None:
    """Alembic's context is global, so they must not meet in it."""
    stores = await asyncio.gather(*[Database.open(f"sqlite:///{tmp_path}/{n}.sqlite", "messages") for n in range(8)])
    for store in stores:
        assert await store.read(lambda conn: version_of(conn, "messages")) == ("m0002", "m0001")
        await store.close()


async def test_a_step_that_fails_leaves_nothing(tmp_path: Path) -> None:
    dsn = f"sqlite:///{tmp_path / 'x.sqlite'}"
    devices = await Database.open(dsn, "devices", readers=1)
    await devices.write(lambda conn: conn.exec_driver_sql("CREATE TABLE later (x)").close())

    def half_way(conn: Connection) -> None:
        upgrade(conn, "messages")

    with pytest.raises(Exception, match="the store"):
        await devices.write(half_way)
    rows = await devices.read(lambda conn: conn.exec_driver_sql("SELECT name FROM sqlite_master").fetchall())
    assert "messages" not in {row[0] for row in rows}
    await devices.close()


def test_the_steps_work_from_an_installed_package(tmp_path: Path) -> None:
    site = tmp_path / "site-packages %d"
    source = Path(push_core.__file__).parent
    # What setup.cfg installs: packages, that is folders with an __init__.py.
    for folder, _, files in os.walk(source):
        if "__init__.py" in files:
            target = site / "push_core" / Path(folder).relative_to(source)
            target.mkdir(parents=True)
            for name in files:
                if name.endswith(".py"):
                    shutil.copy(Path(folder) / name, target)
    code = (
        "import asyncio, push_core\n"
        "from push_core.messages.sql import SqlMessages\n"
        "from push_core.control.sql import SqlControl\n"
        "async def main():\n"
        "    for cls in (SqlMessages, SqlControl):\n"
        "        await (await cls.open('sqlite:///x.sqlite')).close()\n"
        "asyncio.run(main()); print(push_core.__file__)"
    )
    environment = {**os.environ, "PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(str(site))
