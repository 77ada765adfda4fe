"""What the engine does to files."""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

from push_core.sql.sqlite.engine import make_engine


@pytest.fixture(autouse=True)
def careless_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def write_to(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE secrets (secret TEXT)")


def rights(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_store_and_its_journals_are_their_owners_alone(tmp_path: Path) -> None:
    engine = make_engine(make_url(f"sqlite:///{tmp_path}/new/store.sqlite"))
    write_to(engine)
    with engine.connect() as reader:  # the journals are there as long as somebody has the store open
        reader.exec_driver_sql("SELECT * FROM secrets")
        files = sorted((tmp_path / "new").iterdir())
        assert [path.name for path in files] == ["store.sqlite", "store.sqlite-shm", "store.sqlite-wal"]
        assert {rights(path) for path in files} == {0o600}
    engine.dispose()


def test_a_store_that_is_there_keeps_the_rights_that_its_owner_gave_it(tmp_path: Path) -> None:
    path = tmp_path / "store.sqlite"
    path.touch()
    path.chmod(0o640)
    engine = make_engine(make_url(f"sqlite:///{path}"))
    write_to(engine)
    engine.dispose()
    assert rights(path) == 0o640


def test_a_second_engine_of_a_store_leaves_the_first_ones_locks_alone(tmp_path: Path) -> None:
    """Without its locks another process takes itself for the last one, and removes the log that we go on writing to."""
    url = make_url(f"sqlite:///{tmp_path}/store.sqlite")
    first = make_engine(url)
    write_to(first)
    with first.connect() as ours:
        ours.exec_driver_sql("SELECT * FROM secrets").fetchall()
        ours.rollback()
        second = make_engine(url)
        script = f"import sqlite3; c = sqlite3.connect({str(tmp_path / 'store.sqlite')!r}); c.execute(\"INSERT INTO secrets VALUES ('x')\"); c.commit(); c.close()"
        subprocess.run([sys.executable, "-c", script], check=True)
        assert (tmp_path / "store.sqlite-wal").exists()
        assert ours.exec_driver_sql("SELECT secret FROM secrets").fetchall() == [("x",)]
    second.dispose()
    first.dispose()
