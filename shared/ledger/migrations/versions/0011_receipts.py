"""Receipts: what became of a text after the provider took it."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_ID = sa.String(36).with_variant(UUID(as_uuid=False), "postgresql")


def upgrade() -> None:
    """Services of the version before go on beside it: they count no such number, and settle none."""
    for name in ("n_delivered", "n_undelivered"):
        op.add_column("batches", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    op.add_column("messages", sa.Column("receipt_at_ms", sa.BigInteger))
    op.create_table(
        "receipts",
        sa.Column("batch_id", _ID, sa.ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("row_no", sa.Integer, primary_key=True),
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("status", sa.Text, primary_key=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("error_reason", sa.Text),
        sa.Column("at_ms", sa.BigInteger),
        sa.Column("received_at_ms", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    is_postgres = op.get_bind().dialect.name == "postgresql"
    # There is one for each text of some providers: see 0005.
    of_a_batch = () if is_postgres else (sa.ForeignKey("batches.id", ondelete="CASCADE"),)
    op.create_table(
        "provider_ids",
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("message_id", sa.Text, primary_key=True),
        sa.Column("batch_id", _ID, *of_a_batch, nullable=False, index=True),
        sa.Column("row_no", sa.Integer, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sqlite_with_rowid=False,
    )
    if is_postgres:
        op.execute(
            """
            CREATE OR REPLACE FUNCTION delete_messages_of_batch() RETURNS trigger LANGUAGE plpgsql
            SECURITY DEFINER SET search_path FROM CURRENT AS $$
            BEGIN
                DELETE FROM messages WHERE batch_id = OLD.id;
                DELETE FROM provider_ids WHERE batch_id = OLD.id;
                RETURN NULL;
            END $$
            """
        )
