"""Where the contracts of the stores run: a class for each adapter, with its DSN. Another server is another class."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.maria import Tables


class OnSqliteFile:
    @pytest.fixture
    def dsn(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'store.sqlite'}"


class OnSqliteMemory:
    @pytest.fixture
    def dsn(self) -> str:
        return "sqlite://"


class OnMaria:
    """One database for all tests of the process: its tables are made once and emptied for each."""

    @pytest.fixture
    def dsn(self, maria_tables: Tables) -> Iterator[str]:
        maria_tables.empty()
        return maria_tables.dsn
