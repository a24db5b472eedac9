"""Why a provider is held, beside until when; and the attempts of a number that were refused because of our account."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A sender of the version before changes `held_until_us` alone: `told_until_us` tells whether the words are of that
    pause. A constant default rewrites no row."""
    op.add_column("provider_gates", sa.Column("told_until_us", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("provider_gates", sa.Column("cause", sa.Text))
    op.add_column("provider_gates", sa.Column("error_code", sa.Text))
    op.add_column("provider_gates", sa.Column("error_reason", sa.Text))
    op.add_column("provider_gates", sa.Column("provider_status", sa.SmallInteger))
    op.add_column("messages", sa.Column("uncounted", sa.Integer, nullable=False, server_default="0"))
