"""Drills, sweeps, comparisons; the engine and rule of a case; what a drill made; longer names of methods.

Revision 0003, follows 0002.
"""

import sqlalchemy as sa
from alembic import op

from orfila.db import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _owned(table: str) -> list[sa.schema.SchemaItem]:
    """What every result of a job that belongs to a project has."""
    return [
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("project_id", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.String(), nullable=True),
        sa.Column("job_id", sa.String(length=32), nullable=True),
        sa.Column("created_by", sa.String(length=32), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("outcome", sa.JSON(none_as_null=True), nullable=True),
        sa.ForeignKeyConstraint(["created_by"], ["users.id"], name=op.f(f"fk_{table}_created_by_users")),
        sa.ForeignKeyConstraint(
            ["project_id"], ["projects.id"], name=op.f(f"fk_{table}_project_id_projects"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
    ]


def upgrade() -> None:
    op.create_table(
        "drills",
        *_owned("drills"),
        sa.Column("dataset_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("attack", sa.String(length=32), nullable=False),
        sa.Column("rate", sa.Double(), nullable=False),
        sa.Column("source", sa.Integer(), nullable=True),
        sa.Column("target", sa.Integer(), nullable=True),
        sa.Column("options", sa.JSON(), nullable=False),
        sa.Column("architecture", sa.String(length=120), nullable=False),
        sa.Column("epochs", sa.Integer(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("n_affected", sa.Integer(), nullable=False),
        sa.Column("n_queries", sa.Integer(), nullable=False),
        sa.Column("poisoned_dataset_id", sa.String(length=32), nullable=True),
        sa.Column("triggered_dataset_id", sa.String(length=32), nullable=True),
        sa.Column("model_id", sa.String(length=32), nullable=True),
        sa.Column("truth", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_drills_dataset_id_datasets")),
        sa.ForeignKeyConstraint(
            ["poisoned_dataset_id"], ["datasets.id"], name=op.f("fk_drills_poisoned_dataset_id_datasets")
        ),
        sa.ForeignKeyConstraint(
            ["triggered_dataset_id"], ["datasets.id"], name=op.f("fk_drills_triggered_dataset_id_datasets")
        ),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_drills_model_id_models")),
    )
    op.create_index("ix_drills_project_id", "drills", ["project_id", "created_at"], unique=False)
    op.create_index("ix_drills_dataset_id", "drills", ["dataset_id"], unique=False)
    op.create_index("ix_drills_model_id", "drills", ["model_id"], unique=False)

    op.create_table(
        "sweeps",
        *_owned("sweeps"),
        sa.Column("model_id", sa.String(length=32), nullable=False),
        sa.Column("dataset_id", sa.String(length=32), nullable=False),
        sa.Column("index_id", sa.String(length=32), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name=op.f("fk_sweeps_model_id_models")),
        sa.ForeignKeyConstraint(["dataset_id"], ["datasets.id"], name=op.f("fk_sweeps_dataset_id_datasets")),
        sa.ForeignKeyConstraint(["index_id"], ["indexes.id"], name=op.f("fk_sweeps_index_id_indexes")),
    )
    op.create_index("ix_sweeps_project_id", "sweeps", ["project_id", "created_at"], unique=False)
    for column in ("model_id", "dataset_id", "index_id"):
        op.create_index(f"ix_sweeps_{column}", "sweeps", [column], unique=False)

    op.create_table(
        "comparisons",
        *_owned("comparisons"),
        sa.Column("case_id", sa.String(length=32), nullable=False),
        sa.Column("detectors", sa.JSON(), nullable=False),
        sa.Column("files", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(
            ["case_id"], ["cases.id"], name=op.f("fk_comparisons_case_id_cases"), ondelete="CASCADE"
        ),
    )
    op.create_index("ix_comparisons_project_id", "comparisons", ["project_id"], unique=False)
    op.create_index("ix_comparisons_case_id", "comparisons", ["case_id"], unique=False)

    # Plain additions: on SQLite a rebuilt `cases` would take the verdicts that refer to it along.
    op.add_column("datasets", sa.Column("drill_id", sa.String(length=32), nullable=True))
    op.add_column("models", sa.Column("drill_id", sa.String(length=32), nullable=True))
    op.add_column("indexes", sa.Column("ekfac", sa.JSON(), nullable=False, server_default="{}"))
    op.add_column("cases", sa.Column("engine", sa.String(length=16), nullable=False, server_default="fingerprint"))
    op.add_column("cases", sa.Column("rule", sa.String(length=16), nullable=False, server_default="collapse"))
    if op.get_bind().dialect.name != "sqlite":  # which keeps text of any length
        op.alter_column("remedies", "method", type_=sa.String(length=16), existing_nullable=False)


def downgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("remedies", "method", type_=sa.String(length=8), existing_nullable=False)
    op.drop_column("cases", "rule")
    op.drop_column("cases", "engine")
    op.drop_column("indexes", "ekfac")
    op.drop_column("models", "drill_id")
    op.drop_column("datasets", "drill_id")
    op.drop_table("comparisons")
    op.drop_table("sweeps")
    op.drop_table("drills")
