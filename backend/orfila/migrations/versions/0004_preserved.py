"""Data sets and models that are preserved as evidence.

Revision 0004, follows 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("datasets", "models"):
        with op.batch_alter_table(table) as batch:
            batch.add_column(sa.Column("preserved", sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    for table in ("models", "datasets"):
        with op.batch_alter_table(table) as batch:
            batch.drop_column("preserved")
