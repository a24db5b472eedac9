"""Recovery, operators' decisions on unclear numbers, and the provider's gate that all senders share."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Columns for every number and every batch, and the table of gates."""
    op.add_column("batches", sa.Column("written_at_ms", sa.BigInteger, nullable=False, server_default=sa.text("0")))
    op.add_column("messages", sa.Column("was_unclear", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("messages", sa.Column("recoveries", sa.SmallInteger, nullable=False, server_default=sa.text("0")))
    op.add_column("messages", sa.Column("decision", sa.Text))
    op.create_table(
        "provider_gates",
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("next_slot_us", sa.BigInteger, nullable=False),
        sa.Column("held_until_us", sa.BigInteger, nullable=False),
    )
