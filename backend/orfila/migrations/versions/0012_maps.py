"""Maps of fingerprints.

Revision 0012, follows 0011.
"""

import sqlalchemy as sa
from alembic import op

from orfila.db import UtcDateTime

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "maps",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("project_id", sa.String(32), nullable=False),
        sa.Column("case_id", sa.String(32), nullable=False),
        sa.Column("method", sa.String(8), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error", sa.String()),
        sa.Column("job_id", sa.String(32)),
        sa.Column("created_by", sa.String(32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="fk_maps_project_id_projects", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_maps_case_id_cases", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name="fk_maps_created_by_users"),
        sa.PrimaryKeyConstraint("id", name="pk_maps"),
        sa.UniqueConstraint("case_id", "method", name="uq_maps_case_id"),
    )
    op.create_index("ix_maps_project_id", "maps", ["project_id"])


def downgrade() -> None:
    op.drop_table("maps")
