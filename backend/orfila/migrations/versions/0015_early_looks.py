"""What a case shows while it is being scored.

Revision 0015, follows 0014.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cases", sa.Column("early", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("cases", "early")
