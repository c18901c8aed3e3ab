"""Passwords, sessions that can be listed, and people of an OpenID provider.

Revision 0008, follows 0007. Everybody signs in again: a session of before does not say how it began.
"""

import sqlalchemy as sa
from alembic import op

from orfila.db import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("DELETE FROM browser_sessions")
    with op.batch_alter_table("users") as batch:
        batch.add_column(sa.Column("password_hash", sa.String(255)))
        batch.add_column(sa.Column("disabled_at", UtcDateTime()))
    with op.batch_alter_table("browser_sessions") as batch:
        batch.add_column(sa.Column("id", sa.String(32), nullable=False))
        batch.add_column(sa.Column("method", sa.String(8), nullable=False))
        batch.add_column(sa.Column("address", sa.String(45)))
        batch.add_column(sa.Column("browser", sa.String(200)))
        batch.add_column(sa.Column("last_seen_at", UtcDateTime(), nullable=False))
        batch.create_unique_constraint("uq_browser_sessions_id", ["id"])
    op.create_table(
        "external_identities",
        sa.Column("issuer", sa.String(255), nullable=False),
        sa.Column("subject", sa.String(255), nullable=False),
        sa.Column("user_id", sa.String(32), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name="fk_external_identities_user_id_users", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_external_identities"),
    )
    op.create_index("ix_external_identities_user_id", "external_identities", ["user_id"])
    op.create_table(
        "oidc_attempts",
        sa.Column("state_hash", sa.String(64), nullable=False),
        sa.Column("nonce", sa.String(64), nullable=False),
        sa.Column("code_verifier", sa.String(128), nullable=False),
        sa.Column("destination", sa.String(2000), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("state_hash", name="pk_oidc_attempts"),
    )


def downgrade() -> None:
    op.drop_table("oidc_attempts")
    op.drop_table("external_identities")
    with op.batch_alter_table("browser_sessions") as batch:
        batch.drop_constraint("uq_browser_sessions_id", type_="unique")
        for column in ("id", "method", "address", "browser", "last_seen_at"):
            batch.drop_column(column)
    with op.batch_alter_table("users") as batch:
        batch.drop_column("password_hash")
        batch.drop_column("disabled_at")
