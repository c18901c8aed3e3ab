"""Checks of models against closed cases.

Revision 0013, follows 0012.
"""

import sqlalchemy as sa
from alembic import op

from orfila.db import UtcDateTime

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "checks",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("project_id", sa.String(32), nullable=False),
        sa.Column("model_id", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("error", sa.String()),
        sa.Column("job_id", sa.String(32)),
        sa.Column("created_by", sa.String(32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("outcome", sa.JSON(none_as_null=True)),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name="fk_checks_project_id_projects", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_checks_model_id_models", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name="fk_checks_created_by_users"),
        sa.PrimaryKeyConstraint("id", name="pk_checks"),
    )
    op.create_index("ix_checks_project_id", "checks", ["project_id"])
    op.create_index("ix_checks_model_id", "checks", ["model_id", "created_at"])


def downgrade() -> None:
    op.drop_table("checks")
