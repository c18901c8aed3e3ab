"""Review rounds, final words on conflicts, and verdicts that are undone as one.

Revision 0009, follows 0008.
"""

import sqlalchemy as sa
from alembic import op

from orfila.db import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "review_rounds",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("case_id", sa.String(32), nullable=False),
        sa.Column("name", sa.String(80), nullable=False),
        sa.Column("state", sa.String(10), nullable=False),
        sa.Column("reviewers_per_image", sa.Integer(), nullable=False),
        sa.Column("blind", sa.Boolean(), nullable=False),
        sa.Column("adjudicator_id", sa.String(32)),
        sa.Column("due_at", UtcDateTime()),
        sa.Column("created_by", sa.String(32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime()),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_review_rounds_case_id_cases", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["adjudicator_id"], ["users.id"], name="fk_review_rounds_adjudicator_id_users"),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name="fk_review_rounds_created_by_users"),
        sa.PrimaryKeyConstraint("id", name="pk_review_rounds"),
    )
    op.create_index("ix_review_rounds_case_id", "review_rounds", ["case_id"])
    op.create_table(
        "round_images",
        sa.Column("round_id", sa.String(32), nullable=False),
        sa.Column("image_index", sa.Integer(), nullable=False),
        sa.Column("stratum", sa.String(10), nullable=False),
        sa.ForeignKeyConstraint(
            ["round_id"], ["review_rounds.id"], name="fk_round_images_round_id_review_rounds", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("round_id", "image_index", name="pk_round_images"),
    )
    op.create_table(
        "assignments",
        sa.Column("round_id", sa.String(32), nullable=False),
        sa.Column("image_index", sa.Integer(), nullable=False),
        sa.Column("reviewer_id", sa.String(32), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["round_id"], ["review_rounds.id"], name="fk_assignments_round_id_review_rounds", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["reviewer_id"], ["users.id"], name="fk_assignments_reviewer_id_users"),
        sa.PrimaryKeyConstraint("round_id", "image_index", "reviewer_id", name="pk_assignments"),
    )
    op.create_index("ix_assignments_reviewer_id", "assignments", ["reviewer_id", "round_id"])
    op.create_table(
        "verdict_batches",
        sa.Column("id", _NUMBER, nullable=False),
        sa.Column("case_id", sa.String(32), nullable=False),
        sa.Column("reviewer_id", sa.String(32), nullable=False),
        sa.Column("given", sa.JSON(), nullable=False),
        sa.Column("previous", sa.JSON(), nullable=False),
        sa.Column("undone", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_verdict_batches_case_id_cases", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["reviewer_id"], ["users.id"], name="fk_verdict_batches_reviewer_id_users"),
        sa.PrimaryKeyConstraint("id", name="pk_verdict_batches"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_verdict_batches_case_id", "verdict_batches", ["case_id", "reviewer_id"])
    op.create_table(
        "resolutions",
        sa.Column("case_id", sa.String(32), nullable=False),
        sa.Column("image_index", sa.Integer(), nullable=False),
        sa.Column("verdict", sa.String(8), nullable=False),
        sa.Column("reason", sa.String(500)),
        sa.Column("adjudicator_id", sa.String(32), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["case_id"], ["cases.id"], name="fk_resolutions_case_id_cases", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["adjudicator_id"], ["users.id"], name="fk_resolutions_adjudicator_id_users"),
        sa.PrimaryKeyConstraint("case_id", "image_index", name="pk_resolutions"),
    )


def downgrade() -> None:
    for table in ("resolutions", "verdict_batches", "assignments", "round_images", "review_rounds"):
        op.drop_table(table)
