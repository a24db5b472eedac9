"""The ledger's tables: one row per batch with a counter per state, one row per number, the templates, one row per
provider that senders agree by, and what is kept of attempts and of dead letters."""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, UUID

from shared.domain.states import State

metadata = MetaData()

_ID = String(36).with_variant(UUID(as_uuid=False), "postgresql")


def counter(state: State) -> str:
    """The batch row's column that counts the numbers in a state."""
    return f"n_{state}"


batches = Table(
    "batches",
    metadata,
    Column("id", _ID, primary_key=True),
    Column("fingerprint", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("lane", Text, nullable=False),
    Column("provider", Text, nullable=False),
    Column("on_unknown", Text, nullable=False),
    Column("reference", Text),
    Column("tags", JSON().with_variant(JSONB, "postgresql"), nullable=False, server_default=text("'[]'")),
    Column("template_id", BigInteger),
    Column("content", Text),  # as it is sent to the numbers that have no text of their own
    Column("unfilled", Text),  # the content before its variables were filled in, where that is another
    Column("variables", Text),  # JSON: what filled its template, for providers that have it themselves
    Column("accepted_at_ms", BigInteger, nullable=False),
    Column("send_at_ms", BigInteger),
    Column("expires_at_ms", BigInteger),
    Column("finished_at_ms", BigInteger),
    Column("error_code", Text),
    Column("error_reason", Text),
    Column("recipients", Integer, nullable=False),
    Column("rows_written", Integer, nullable=False, server_default=text("0")),
    Column("written_at_ms", BigInteger, nullable=False, server_default=text("0")),  # the last of them
    Column("resend_of", _ID),  # the batch whose numbers these are
    Column("paused_by", Text),  # operator or fuse
    Column("paused_reason", Text),
    Column("fuse_code", Text),  # of the last messages that were refused because of the content
    Column("fuse_run", Integer, nullable=False, server_default=text("0")),  # how many in a row
    Column("fuse_sent", Integer, nullable=False, server_default=text("0")),  # of the batch, at the last of them
    Column("fuse_blown", Integer, nullable=False, server_default=text("0")),  # how often it has paused the batch
    Column("fed_by", Text),
    Column("fed_until_ms", BigInteger, nullable=False, server_default=text("0")),
    *(Column(counter(state), Integer, nullable=False, server_default=text("0")) for state in State),
    Index("batches_newest", "accepted_at_ms", "id"),
    Index(
        "batches_unfinished",
        "accepted_at_ms",
        postgresql_where=text("state IN ('running', 'scheduled')"),
        sqlite_where=text("state IN ('running', 'scheduled')"),
    ),
    # Every micro-batch updates the counters: room on the page keeps those updates off the indexes (HOT).
    postgresql_with={"fillfactor": "20"},
)

messages = Table(
    "messages",
    metadata,
    # The foreign key is SQLite's: on PostgreSQL a trigger deletes a batch's numbers (migration 0005).
    Column("batch_id", _ID, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("row_no", Integer, primary_key=True),
    Column("recipient", Text, nullable=False),
    Column("text", Text),  # only where it differs from the batch's content
    Column("segments", SmallInteger),
    Column("state", Text, nullable=False),
    Column("attempt", Integer, nullable=False, server_default=text("0")),
    Column("claimed_at_ms", BigInteger),
    Column("claimed_by", Text),
    Column("error_code", Text),
    Column("error_reason", Text),
    Column("provider_status", SmallInteger),
    Column("provider_message_id", Text),
    Column("retry_at_ms", BigInteger),
    Column("first_at_ms", BigInteger),
    Column("updated_at_ms", BigInteger, nullable=False),
    Column("was_unclear", Boolean, nullable=False, server_default=false()),  # an attempt that may have been sent
    # How often its message was missed, and it was published anew.
    Column("recoveries", SmallInteger, nullable=False, server_default=text("0")),
    # Of its attempts, those that were refused because of our account.
    Column("uncounted", Integer, nullable=False, server_default=text("0")),
    Column("decision", Text),  # what an operator decided when it was unknown: sent, failed or resend
    Column("resent_in", _ID),  # the batch in which it is sent again: here it never is
    Column("provider", Text),  # at which it was tried last, where that is another than the batch's
    Column("variables", Text),  # JSON: all that filled its template, where it has any of its own
    Column("receipt_at_ms", BigInteger),  # when it arrived or did not, as its receipt has it
    postgresql_with={"fillfactor": "35"},
    sqlite_with_rowid=False,
)

provider_of_message = func.coalesce(messages.c.provider, batches.c.provider)
"""At which a message was tried last, or else its batch's."""

# Only what did not succeed: a number that goes well costs nothing here, and its own row tells of its last attempt.
attempts = Table(
    "attempts",
    metadata,
    Column("batch_id", _ID, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("row_no", Integer, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("begun_at_ms", BigInteger),
    Column("ended_at_ms", BigInteger, nullable=False),
    Column("provider", Text, nullable=False),
    Column("sender", Text),
    Column("state", Text, nullable=False),  # of the number after it
    Column("error_code", Text),
    Column("error_reason", Text),
    Column("provider_status", SmallInteger),
    sqlite_with_rowid=False,
)

# Receipts that the number's own row does not tell of: of a text's parts, of earlier attempts, contradictions.
receipts = Table(
    "receipts",
    metadata,
    Column("batch_id", _ID, ForeignKey("batches.id", ondelete="CASCADE"), primary_key=True),
    Column("row_no", Integer, primary_key=True),
    Column("message_id", Text, primary_key=True),  # the provider's; empty where it names none
    Column("status", Text, primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("provider", Text, nullable=False),
    Column("error_code", Text),
    Column("error_reason", Text),
    Column("at_ms", BigInteger),  # as the provider has it
    Column("received_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Whose text a provider's id is, of those providers that give back no reference of ours.
provider_ids = Table(
    "provider_ids",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),  # as `spellings` has it first
    # As for the messages, the foreign key is SQLite's, and the trigger PostgreSQL's.
    Column("batch_id", _ID, ForeignKey("batches.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("row_no", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# Numbers that opted out.
suppressions = Table(
    "suppressions",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("recipient", Text, nullable=False),  # E.164
    Column("sender_name", Text, nullable=False),  # empty: of all senders
    Column("source", Text, nullable=False),
    Column("reason", Text),
    Column("added_at_ms", BigInteger, nullable=False),
    UniqueConstraint("recipient", "sender_name", name="suppressions_recipient"),
)

# Texts from handsets that a person has to look at; when that is done, the text goes.
inbound_reviews = Table(
    "inbound_reviews",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("provider", Text, nullable=False),
    Column("message_id", Text),  # the provider's
    Column("recipient", Text, nullable=False),  # E.164: who wrote it
    Column("sender_name", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("received_at_ms", BigInteger, nullable=False),
    Column("decision", Text),
    Column("decided_at_ms", BigInteger),
    UniqueConstraint("provider", "message_id", name="inbound_reviews_message"),
)

# Dead letters that an operator threw away.
discards = Table(
    "discards",
    metadata,
    Column("queue", Text, primary_key=True),
    Column("message_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),  # the number's, in the letter; 0 where it names none
    Column("failed_at", Text),  # as the letter's header has it
    Column("discarded_at_ms", BigInteger, nullable=False),
    Column("error_code", Text),
    Column("reason", Text, nullable=False),
    sqlite_with_rowid=False,
)

provider_gates = Table(
    "provider_gates",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("next_slot_us", BigInteger, nullable=False),  # when the next call may be made, under a rate limit
    Column("held_until_us", BigInteger, nullable=False),  # until when all of us pause
    # Why: of the pause that ends then, while that is this one's end.
    Column("told_until_us", BigInteger, nullable=False, server_default=text("0")),
    Column("cause", Text),
    Column("error_code", Text),
    Column("error_reason", Text),
    Column("provider_status", SmallInteger),
    Column("paused_at_us", BigInteger),  # since when an operator has it paused
    # A sender could not reach it: until then it is fed nothing where another can take it, then a little, to see.
    Column("avoid_until_us", BigInteger),
    Column("avoid_reason", Text),
    # The provider found our calls too fast: all of us call at this share of the rate, and climb back from then on.
    Column("slowed_to", Float),
    Column("slowed_at_us", BigInteger),
    Column("slowed_until_us", BigInteger),
)

# What each sender says of a provider that it serves, every few seconds.
provider_senders = Table(
    "provider_senders",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("sender", Text, primary_key=True),
    Column("seen_at_us", BigInteger, nullable=False),
    Column("in_flight", Integer, nullable=False),  # calls
    Column("sent", Integer, nullable=False),  # messages of the last minute
    Column("failed", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# One row: how often operators have asked all services to read the providers file again.
provider_reloads = Table(
    "provider_reloads",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("asked", BigInteger, nullable=False),
)

provider_days = Table(
    "provider_days",
    metadata,
    Column("provider", Text, primary_key=True),
    Column("day", Text, primary_key=True),  # in the zone of its daily limit
    Column("used", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

templates = Table(
    "templates",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("name", Text, nullable=False, unique=True),
    Column("content", Text, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
)
