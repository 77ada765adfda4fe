"""First tables of the device store: apps, devices, control."""

import sqlalchemy as sa
from alembic import op

from push_core.sql.tables import blob, name

revision = "d0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "apps",
        sa.Column("name", name(64), primary_key=True),
        sa.Column("body", blob(), nullable=False),
    )
    op.create_table(
        "devices",
        sa.Column("app", name(64), primary_key=True),
        sa.Column("device", name(), primary_key=True),
        sa.Column("alias", name()),
        sa.Column("blocked", sa.SmallInteger, nullable=False, server_default="0"),
        sa.Column("body", blob(), nullable=False),
    )
    op.create_index("devices_alias", "devices", ["app", "alias", "device"])
    op.create_table(
        "control",
        sa.Column("name", name(255), primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("body", blob()),
    )
    op.create_index("control_version", "control", ["version"])
    op.create_table(
        "control_counter",
        sa.Column("one", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.execute("INSERT INTO control_counter (one, version) VALUES (1, 0)")
