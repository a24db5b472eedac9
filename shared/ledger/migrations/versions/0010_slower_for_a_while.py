"""A provider that finds our calls too fast is called more slowly for a while."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Services of the version before neither read nor write them."""
    op.add_column("provider_gates", sa.Column("slowed_to", sa.Float))
    op.add_column("provider_gates", sa.Column("slowed_at_us", sa.BigInteger))
    op.add_column("provider_gates", sa.Column("slowed_until_us", sa.BigInteger))
