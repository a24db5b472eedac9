"""PostgreSQL no longer looks up the batch for each number that is written."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """A number is only written in a transaction that has locked its batch's row, so the foreign key checked, number by
    number, what cannot be otherwise. What else it did, a trigger does: numbers go when their batch is deleted."""
    if op.get_bind().dialect.name != "postgresql":
        return
    op.execute("ALTER TABLE messages DROP CONSTRAINT messages_batch_id_fkey")
    op.execute(
        """
        CREATE FUNCTION delete_messages_of_batch() RETURNS trigger LANGUAGE plpgsql
        SECURITY DEFINER SET search_path FROM CURRENT AS $$
        BEGIN
            DELETE FROM messages WHERE batch_id = OLD.id;
            RETURN NULL;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER delete_messages AFTER DELETE ON batches "
        "FOR EACH ROW EXECUTE FUNCTION delete_messages_of_batch()"
    )
