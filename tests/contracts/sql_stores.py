"""Where the contracts of the stores run: a class for each adapter, with its DSN. Another server is another class."""

from pathlib import Path

import pytest


class OnSqliteFile:
    @pytest.fixture
    def dsn(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'store.sqlite'}"


class OnSqliteMemory:
    @pytest.fixture
    def dsn(self) -> str:
        return "sqlite://"
