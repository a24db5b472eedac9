"""Attempts that did not succeed, dead letters that were thrown away, batches made of another's numbers."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ID = sa.String(36).with_variant(UUID(as_uuid=False), "postgresql")


def upgrade() -> None:
    """Two tables, and the links between a batch and the one that its numbers were sent again in."""
    op.add_column("batches", sa.Column("resend_of", _ID))
    op.add_column("messages", sa.Column("resent_in", _ID))
    op.create_table(
        "attempts",
        sa.Column("batch_id", _ID, sa.ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("row_no", sa.Integer, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("begun_at_ms", sa.BigInteger),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("sender", sa.Text),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("error_reason", sa.Text),
        sa.Column("provider_status", sa.SmallInteger),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "discards",
        sa.Column("queue", sa.Text, primary_key=True),
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, primary_key=True),
        sa.Column("failed_at", sa.Text),
        sa.Column("discarded_at_ms", sa.BigInteger, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
