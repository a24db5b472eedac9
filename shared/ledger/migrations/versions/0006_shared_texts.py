"""A text that variables made the same for all numbers is kept once, with the batch."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """`content` is what is sent, as senders of every version read it. What it was made of stays, for a dispatcher that
    goes on with a batch."""
    op.add_column("batches", sa.Column("unfilled", sa.Text))
