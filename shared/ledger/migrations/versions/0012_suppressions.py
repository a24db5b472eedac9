"""Numbers that opted out, and texts from handsets that a person has to look at."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Services of the version before do not look here: a number that is added while they run may still be called."""
    op.create_table(
        "suppressions",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("sender_name", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("added_at_ms", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("recipient", "sender_name", name="suppressions_recipient"),
    )
    op.create_table(
        "inbound_reviews",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("provider", sa.Text, nullable=False),
        sa.Column("message_id", sa.Text),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("sender_name", sa.Text, nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("received_at_ms", sa.BigInteger, nullable=False),
        sa.Column("decision", sa.Text),
        sa.Column("decided_at_ms", sa.BigInteger),
        sa.UniqueConstraint("provider", "message_id", name="inbound_reviews_message"),
    )
