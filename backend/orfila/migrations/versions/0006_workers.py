"""Workers that say that they are there; what jobs have cost.

Revision 0006, follows 0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workers",
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("queues", sa.JSON(), nullable=False),
        sa.Column("device", sa.String(32), nullable=False),
        sa.Column("version", sa.String(32), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.create_index(op.f("ix_workers_seen_at"), "workers", ["seen_at"])

    with op.batch_alter_table("jobs") as batch:
        batch.add_column(sa.Column("seconds", sa.Double(), nullable=True))
        batch.add_column(sa.Column("compute_seconds", sa.Double(), nullable=False, server_default="0"))
        batch.add_column(sa.Column("leases_lost", sa.Integer(), nullable=False, server_default="0"))
    with op.batch_alter_table("shards") as batch:
        batch.add_column(sa.Column("claimed_at", sa.Double(), nullable=True))
    # 0003 widened it on PostgreSQL only; SQLite does not look, and yet the two should have the same tables.
    with op.batch_alter_table("remedies") as batch:
        batch.alter_column("method", type_=sa.String(16), existing_type=sa.String(8), existing_nullable=False)


def downgrade() -> None:
    with op.batch_alter_table("shards") as batch:
        batch.drop_column("claimed_at")
    with op.batch_alter_table("jobs") as batch:
        for column in ("leases_lost", "compute_seconds", "seconds"):
            batch.drop_column(column)
    op.drop_index(op.f("ix_workers_seen_at"), table_name="workers")
    op.drop_table("workers")
