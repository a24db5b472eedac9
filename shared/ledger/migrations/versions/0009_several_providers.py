"""Several providers: at which one a message was tried last, what stops one, what fills a template, who serves it."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A null rewrites no row, and is what services of the version before leave: the message is at its batch's."""
    op.add_column("messages", sa.Column("provider", sa.Text))
    op.add_column("messages", sa.Column("variables", sa.Text))
    op.add_column("batches", sa.Column("variables", sa.Text))
    for name in ("paused_by", "paused_reason", "fuse_code"):
        op.add_column("batches", sa.Column(name, sa.Text))
    for name in ("fuse_run", "fuse_sent", "fuse_blown"):
        op.add_column("batches", sa.Column(name, sa.Integer, nullable=False, server_default="0"))
    op.add_column("provider_gates", sa.Column("paused_at_us", sa.BigInteger))
    op.add_column("provider_gates", sa.Column("avoid_until_us", sa.BigInteger))
    op.add_column("provider_gates", sa.Column("avoid_reason", sa.Text))
    op.create_table(
        "provider_reloads",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("asked", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "provider_days",
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("day", sa.Text, primary_key=True),
        sa.Column("used", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "provider_senders",
        sa.Column("provider", sa.Text, primary_key=True),
        sa.Column("sender", sa.Text, primary_key=True),
        sa.Column("seen_at_us", sa.BigInteger, nullable=False),
        sa.Column("in_flight", sa.Integer, nullable=False),
        sa.Column("sent", sa.Integer, nullable=False),
        sa.Column("failed", sa.Integer, nullable=False),
    )
