"""The ledger's database as a witness: no statement may change a message's state as the table of transitions has not.

Tests use ledgers made from a template with this guard, so it holds whatever the services do in them.
"""

from sqlalchemy import text

from shared.domain.states import TRANSITIONS
from shared.ledger.database import Database

_FIRST = ", ".join(f"'{after}'" for before, after in TRANSITIONS if before is None)
_LATER = ", ".join(f"'{before}>{after}'" for before, after in TRANSITIONS if before is not None)

POSTGRES = f"""
    CREATE FUNCTION refuse_transition() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RAISE EXCEPTION 'no such transition: % > %', CASE WHEN TG_OP = 'UPDATE' THEN OLD.state END, NEW.state;
    END $$;
    CREATE TRIGGER first_state BEFORE INSERT ON messages FOR EACH ROW
        WHEN (NEW.state NOT IN ({_FIRST})) EXECUTE FUNCTION refuse_transition();
    CREATE TRIGGER next_state BEFORE UPDATE ON messages FOR EACH ROW
        WHEN (OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({_LATER}))
        EXECUTE FUNCTION refuse_transition();
"""
SQLITE = f"""
    CREATE TRIGGER first_state BEFORE INSERT ON messages WHEN NEW.state NOT IN ({_FIRST})
    BEGIN SELECT RAISE(ABORT, 'no such transition: to the first state'); END;
    CREATE TRIGGER next_state BEFORE UPDATE OF state ON messages
        WHEN OLD.state <> NEW.state AND OLD.state || '>' || NEW.state NOT IN ({_LATER})
    BEGIN SELECT RAISE(ABORT, 'no such transition'); END;
"""


async def lift(database: Database) -> None:
    """Take the guard away: the test writes the ledger by hand."""
    where = "" if database.is_sqlite else " ON messages"
    async with database.writing() as connection:
        for name in ("first_state", "next_state"):
            await connection.execute(text(f"DROP TRIGGER IF EXISTS {name}{where}"))
