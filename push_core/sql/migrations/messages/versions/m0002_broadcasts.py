"""What gateways counted of a live broadcast, with its message. A server adds such a column without touching rows."""

import sqlalchemy as sa

from push_core.sql.migrations.ddl import add_column
from push_core.sql.tables import blob

revision = "m0002"
down_revision = "m0001"
works_with = "m0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_column("messages", sa.Column("counted", blob()))
