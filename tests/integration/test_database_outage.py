"""The database stops under load and comes back: everything waits, nothing is lost."""

import time

import requests

from tests.conftest import Start
from tests.integration.test_trio import numbers
from tests.support import private_postgres
from tests.support.brokers import Vhost
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for


def test_a_database_that_is_killed_under_load_and_started_again_loses_nothing(
    vhost: Vhost, own_postgres: private_postgres.PrivatePostgres, simulator: ServiceProcess, start: Start
) -> None:
    trio = Trio(vhost, simulator, settings_for(vhost, own_postgres.url, simulator), start).up()
    plain = [number for number in numbers(4500) if not number[-4:].startswith("90")]
    trio.misbehave("slow", delay_s=0.05)
    first = trio.post(plain)
    eventually(lambda: trio.batch(first)["counts"].get("sent", 0) > 300)
    own_postgres.kill()
    meanwhile = trio.post(["+8613900139000"])
    time.sleep(3)  # senders and dispatcher hit the missing database
    own_postgres.start()
    eventually(lambda: requests.get(f"{trio.api.url}/v1/batches/{first}", timeout=30).ok)
    assert trio.finished(first, 120) == {"sent": len(plain)}
    assert trio.finished(meanwhile, 60) == {"sent": 1}
    assert set(trio.provider_calls(first).values()) == {1}
    assert '"level":"critical"' not in trio.logs()
