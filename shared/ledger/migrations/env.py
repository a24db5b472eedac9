"""alembic's entry point; `shared.ledger.database` runs it with an open connection."""

from alembic import context

from shared.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=False)
context.run_migrations()
