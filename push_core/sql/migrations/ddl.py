"""Making tables and indexes in steps. A server commits each by itself, so a step that was cut off is run again from its beginning: what is
there already is left."""

from typing import Any

import sqlalchemy as sa
from alembic import op

_OPTIONS: dict[str, Any] = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_row_format": "DYNAMIC"}
BY_DAY: dict[str, Any] = {"mysql_partition_by": "RANGE (id) (PARTITION later VALUES LESS THAN MAXVALUE)"}
"""For tables whose rows go by age; `mysql/partitions.py` adds the days."""


def in_place(column: str) -> sa.Column[Any]:
    """A time that nearly every row gets. On a server a number from the beginning (0: not yet), so that it is written over where it stands: a row
    that grows costs a third more."""
    if _on_server():
        return sa.Column(column, sa.BigInteger, nullable=False, server_default="0")
    return sa.Column(column, sa.BigInteger)


def no_road_yet() -> str:
    """As long as the usual one, `long`, for the same reason. Spaces are no road."""
    return " " * 4 if _on_server() else ""


def create_table(name: str, *columns: sa.Column[Any], **options: Any) -> None:
    if not _on_server() or not sa.inspect(op.get_bind()).has_table(name):
        op.create_table(name, *columns, **_OPTIONS, **options)


def add_column(table: str, column: sa.Column[Any]) -> None:
    if not _on_server() or column.name not in {each["name"] for each in sa.inspect(op.get_bind()).get_columns(table)}:
        op.add_column(table, column)


def create_index(name: str, table: str, columns: list[str]) -> None:
    if not _on_server() or name not in {index["name"] for index in sa.inspect(op.get_bind()).get_indexes(table)}:
        op.create_index(name, table, columns)


def _on_server() -> bool:
    return op.get_bind().dialect.name != "sqlite"
