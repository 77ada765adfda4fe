"""First tables of the device store: apps, devices, control."""

import sqlalchemy as sa
from alembic import op

from push_core.sql.migrations.ddl import create_index, create_table
from push_core.sql.tables import blob, name

revision = "d0001"
down_revision = None
works_with = "d0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    create_table(
        "apps",
        sa.Column("name", name(64), primary_key=True),
        sa.Column("body", blob(), nullable=False),
    )
    create_table(
        "devices",
        sa.Column("app", name(64), primary_key=True),
        sa.Column("device", name(), primary_key=True),
        sa.Column("alias", name()),
        sa.Column("blocked", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("body", blob(), nullable=False),
    )
    create_index("devices_alias", "devices", ["app", "alias", "device"])
    create_table(
        "control",
        sa.Column("name", name(255), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("body", blob()),
    )
    create_index("control_version", "control", ["version"])
    create_table(
        "control_counter",
        sa.Column("one", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.execute(
        "INSERT INTO control_counter (one, version) SELECT 1, 0 WHERE NOT EXISTS (SELECT 1 FROM control_counter)"
    )
