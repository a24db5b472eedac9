"""The first ledger: batches, messages, templates."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import UUID

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ID = sa.String(36).with_variant(UUID(as_uuid=False), "postgresql")
_STATES = (
    "pending",
    "queued",
    "sending",
    "retrying",
    "sent",
    "failed",
    "unknown",
    "expired",
    "invalid",
    "duplicate",
    "suppressed",
    "cancelled",
)
_UNFINISHED = sa.text("state IN ('running', 'scheduled')")


def upgrade() -> None:
    """Create the three tables."""
    _create_batches()
    _create_messages()
    op.create_table(
        "templates",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
        sa.Column("name", sa.Text, nullable=False, unique=True),
        sa.Column("content", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
    )


def _create_batches() -> None:
    op.create_table(
        "batches",
        sa.Column("id", _ID, primary_key=True),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("fingerprint", "state", "lane", "provider")),
        sa.Column("on_unknown", sa.Text, nullable=False),
        sa.Column("reference", sa.Text),
        sa.Column("template_id", sa.BigInteger),
        sa.Column("content", sa.Text),
        sa.Column("accepted_at_ms", sa.BigInteger, nullable=False),
        *(sa.Column(name, sa.BigInteger) for name in ("send_at_ms", "expires_at_ms", "finished_at_ms")),
        sa.Column("error_code", sa.Text),
        sa.Column("error_reason", sa.Text),
        sa.Column("recipients", sa.Integer, nullable=False),
        sa.Column("rows_written", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("fed_by", sa.Text),
        sa.Column("fed_until_ms", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        *(sa.Column(f"n_{state}", sa.Integer, nullable=False, server_default=sa.text("0")) for state in _STATES),
        postgresql_with={"fillfactor": "20"},
    )
    op.create_index("batches_newest", "batches", ["accepted_at_ms", "id"])
    op.create_index(
        "batches_unfinished",
        "batches",
        ["accepted_at_ms"],
        postgresql_where=_UNFINISHED,
        sqlite_where=_UNFINISHED,
    )


def _create_messages() -> None:
    op.create_table(
        "messages",
        sa.Column("batch_id", _ID, sa.ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("row_no", sa.Integer, primary_key=True),
        sa.Column("recipient", sa.Text, nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("segments", sa.SmallInteger),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("claimed_at_ms", sa.BigInteger),
        sa.Column("claimed_by", sa.Text),
        sa.Column("error_code", sa.Text),
        sa.Column("error_reason", sa.Text),
        sa.Column("provider_status", sa.SmallInteger),
        sa.Column("provider_message_id", sa.Text),
        *(sa.Column(name, sa.BigInteger) for name in ("retry_at_ms", "first_at_ms")),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        postgresql_with={"fillfactor": "60"},
        sqlite_with_rowid=False,
    )
