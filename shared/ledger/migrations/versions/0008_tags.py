"""Labels of a batch, by which batches are found again."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A constant default rewrites no row, and is what a dispatcher of the version before writes."""
    tags = sa.JSON().with_variant(JSONB, "postgresql")
    op.add_column("batches", sa.Column("tags", tags, nullable=False, server_default=sa.text("'[]'")))
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE INDEX batches_tagged ON batches USING gin (tags jsonb_path_ops) WHERE tags <> '[]'")
