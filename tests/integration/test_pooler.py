"""A PgBouncer in front of the database: what a service would miss there, one line says, and nothing begins."""

import pytest

from shared.errors import SettingsError
from shared.ledger.database import Database
from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.machine import NotHere, missing
from tests.support.pgbouncer import pgbouncer
from tests.support.processes import ServiceProcess
from tests.support.trio import settings_for

IGNORED = (
    "extra_float_digits, idle_in_transaction_session_timeout, enable_seqscan, enable_bitmapscan, enable_hashjoin, "
    "enable_mergejoin, jit"
)


@pytest.mark.parametrize(
    ("pool_mode", "ignored"),
    [("transaction", ""), ("transaction", IGNORED), ("session", ""), ("session", IGNORED)],
    ids=["transaction", "transaction-ignoring", "session", "session-ignoring"],
)
async def test_a_ledger_behind_pgbouncer_is_refused_with_the_reason(
    postgres_url: str, pool_mode: str, ignored: str
) -> None:
    try:
        with pgbouncer(postgres_url, pool_mode, ignored) as url:
            database = Database(url)
            try:
                with pytest.raises(SettingsError, match="PgBouncer") as refused:
                    await database.migrate()
            finally:
                await database.close()
    except NotHere as reason:
        missing(str(reason))
    assert "\n" not in str(refused.value)


def test_a_service_behind_pgbouncer_ends_with_one_line(
    vhost: Vhost, postgres_url: str, simulator: ServiceProcess, start: Start
) -> None:
    try:
        with pgbouncer(postgres_url, "transaction", IGNORED) as url:
            sender = start("services.sender", wait=False, **settings_for(vhost, url, simulator))
            assert sender.wait(60) != 0
    except NotHere as reason:
        missing(str(reason))
    last = sender.log.splitlines()[-1]
    assert "SMS_DATABASE_URL leads to a connection pooler (PgBouncer)" in last
    assert sender.log.count("PgBouncer") == 1
