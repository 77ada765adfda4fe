"""Rows packed into one value come back as they are in the tables."""

from collections.abc import AsyncIterator

import pytest
from sqlalchemy import Connection

from push_core.sql.database import Database
from push_core.sql.rows import fetch


@pytest.fixture
async def database() -> AsyncIterator[Database]:
    database = await Database.open("sqlite://", "devices")
    yield database
    await database.close()


async def test_text_bytes_numbers_and_nothing_survive(database: Database) -> None:
    rows = [
        ('quote " back \\ nul-free 😀 ', 2**63 - 1, bytes(range(256))),
        ("b", 0, b""),
        ("c", -1, None),
    ]

    def work(conn: Connection) -> list[tuple[object, ...]]:
        conn.exec_driver_sql("INSERT INTO control (name, version, body) VALUES (?, ?, ?)", rows)
        select = "SELECT name, version, body FROM control WHERE version < :top ORDER BY version DESC"
        assert fetch(conn, select, ("name", "version", "body"), {"top": 1}) == rows[1:]
        return fetch(conn, select.replace("< :top", "<= ?"), ("name", "version", "body"), (2**63 - 1,))

    assert await database.write(work) == rows


async def test_no_rows_are_an_empty_list(database: Database) -> None:
    assert await database.read(lambda conn: fetch(conn, "SELECT name FROM apps", ("name",))) == []
