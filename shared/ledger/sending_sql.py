"""The statements by which senders look at rows; and PostgreSQL's for what goes well, `*_STATEMENT`: a transition in one
statement, which is one round trip instead of five, and holds the batch's row for the commit only."""

from collections.abc import Iterable

from shared.domain.message import CLAIMABLE, CLAIMABLE_BATCH
from shared.domain.routing import ANY_PROVIDER
from shared.ledger.counters import COUNTED
from shared.ledger.suppressions import IS_SUPPRESSED


def _listed(states: Iterable[str]) -> str:
    return ", ".join(f"'{state}'" for state in sorted(states))


_LOOKED_AT = f"""
    CAST(m.batch_id AS text) AS batch_id, m.row_no AS row, m.state, m.attempt, m.recipient,
    COALESCE(m.text, b.content) AS text, m.claimed_at_ms, m.claimed_by, m.first_at_ms, m.retry_at_ms,
    m.error_code, m.error_reason, m.provider_status, m.was_unclear, b.state AS batch_state,
    COALESCE(m.provider, b.provider) AS provider, b.provider AS pin, b.on_unknown, b.expires_at_ms,
    m.resent_in IS NOT NULL AS is_resent, m.uncounted,
    m.was_unclear AND COALESCE(m.decision, '') <> 'resend' AS is_tied, b.template_id,
    CASE WHEN b.template_id IS NOT NULL THEN COALESCE(m.variables, b.variables) END AS variables,
    {IS_SUPPRESSED} AS is_suppressed
"""
_WANTED = """
    {rows} JOIN messages m ON m.batch_id = w.batch_id AND m.row_no = w.row_no JOIN batches b ON b.id = m.batch_id
"""
# Rows are locked in id order, so that senders never deadlock.
LOOK = f"SELECT {_LOOKED_AT} FROM {_WANTED} ORDER BY m.batch_id, m.row_no"  # noqa: S608 - our own names, as below
LOOK_AND_LOCK = f"{LOOK} FOR UPDATE OF m"
# `is_claimable`, for PostgreSQL.
_IS_FREE = f"""
    m.attempt = w.attempt AND m.resent_in IS NULL AND m.state IN ({_listed(CLAIMABLE)})
    AND b.state IN ({_listed(CLAIMABLE_BATCH)}) AND b.provider IN (CAST(:provider AS text), '{ANY_PROVIDER}')
    AND (NOT m.was_unclear OR m.decision = 'resend' OR COALESCE(m.provider, b.provider) = :provider)
"""
CLAIM_STATEMENT = f"""
    WITH found AS (
        SELECT {_LOOKED_AT}, {_IS_FREE} AS is_free, m.batch_id AS id FROM {_WANTED}
        ORDER BY m.batch_id, m.row_no FOR UPDATE OF m
    ), claimed AS (
        UPDATE messages SET state = 'sending', attempt = messages.attempt + 1,
               claimed_at_ms = CAST(:now_ms AS bigint), claimed_by = :token, updated_at_ms = CAST(:now_ms AS bigint),
               first_at_ms = COALESCE(messages.first_at_ms, CAST(:now_ms AS bigint)),
               provider = NULLIF(CAST(:provider AS text), found.pin)
        FROM found WHERE found.is_free AND NOT found.is_suppressed
                     AND messages.batch_id = found.id AND messages.row_no = found.row
    ), moves AS (
        SELECT id AS batch_id, state AS before, 'sending' AS after FROM found WHERE is_free AND NOT is_suppressed
    ), {COUNTED}
    SELECT batch_id, row, state, attempt, recipient, text, claimed_at_ms, claimed_by, first_at_ms, retry_at_ms,
           error_code, error_reason, provider_status, was_unclear, batch_state, provider, pin, on_unknown,
           expires_at_ms, is_resent, uncounted, is_tied, template_id, variables, is_suppressed,
           is_free AND NOT is_suppressed
    FROM found
"""  # noqa: S608
# Locked in id order first, as for a claim. What was held as unclear meanwhile is not ours: its attempt is to be kept.
# Said in a column, not in a condition: where PostgreSQL believes that no row is being sent (it looked when all were),
# it would read the whole table first, to join what it finds.
SENT_STATEMENT = f"""
    WITH found AS (
        SELECT m.batch_id, m.row_no, w.provider_status, w.provider_message_id,
               m.attempt = w.attempt AND m.state = 'sending' AS is_ours
        FROM {{rows}} JOIN messages m ON m.batch_id = w.batch_id AND m.row_no = w.row_no
        ORDER BY m.batch_id, m.row_no FOR UPDATE OF m
    ), sent AS (
        UPDATE messages SET state = 'sent', error_code = NULL, error_reason = NULL, retry_at_ms = NULL,
               provider_status = found.provider_status, provider_message_id = found.provider_message_id,
               updated_at_ms = CAST(:now_ms AS bigint)
        FROM found WHERE found.is_ours AND messages.batch_id = found.batch_id AND messages.row_no = found.row_no
    ), moves AS (
        SELECT batch_id, 'sending' AS before, 'sent' AS after FROM found WHERE is_ours
    ), {COUNTED}
    SELECT CAST(batch_id AS text), row_no FROM found WHERE is_ours
"""  # noqa: S608
