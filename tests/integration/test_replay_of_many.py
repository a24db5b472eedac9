"""A hundred thousand dead letters sent again by a command that is killed half-way: in constant memory, once each."""

import asyncio
import signal
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress

import pytest

from shared.amqp.publisher import Publisher
from shared.clock import now_ms
from shared.domain.follow_ups import Failure, dead_letter
from shared.domain.message import message_id
from shared.domain.states import State
from shared.messages import OUTBOUND_TYPE, outbound_body
from shared.topology import DEAD_LETTER, DeadLetterKey
from tests.conftest import Start
from tests.support.brokers import Vhost
from tests.support.forking.process import fork, outside_environment
from tests.support.handmade_ledger import HandmadeLedger
from tests.support.processes import ServiceProcess, eventually, peak_memory_mib
from tests.support.trio import Trio, settings_for

FEW, CHUNK = 2_500, 2_500
MORE_MEMORY_MIB = 25


def replay(settings: Mapping[str, str], **more: str) -> tuple[int, float, str]:
    """Run `smsctl dead-letters replay --all`: its exit status, the most memory that it held (MiB), what it said."""
    arguments = ["dead-letters", "replay", "--all", "--rate", "0"]
    environment = outside_environment(**{**settings, **more})
    with tempfile.TemporaryFile("w+") as said:
        process = fork("tools.ctl", *arguments, environment=environment, stdout=said, stderr=said)
        peak_mib = 0.0
        while process.poll() is None:
            # Not the rusage of the child: it counts what this process held when it forked.
            with suppress(FileNotFoundError, ValueError):
                peak_mib = max(peak_mib, peak_memory_mib(process.pid))
            time.sleep(0.05)
        said.seek(0)
        return process.returncode, peak_mib, said.read()


def failed(trio: Trio, database_url: str, count: int) -> str:
    """A batch whose numbers have all failed, with their letters."""
    books = HandmadeLedger(database_url)
    batch_id = books.batch([State.FAILED] * count)
    # The numbers' endings would tell the simulator how to answer.
    books.execute("UPDATE messages SET recipient = '+8613900000000' WHERE batch_id = :batch_id", batch_id=batch_id)
    asyncio.run(put_letters(trio.vhost, batch_id, count))
    return batch_id


async def put_letters(vhost: Vhost, batch_id: str, count: int) -> None:
    """The letters of a batch's rows, as a sender writes them."""
    publisher = Publisher(vhost.amqp_url, "test publishes", "test", nothing)
    running = asyncio.create_task(publisher.run())
    why = Failure("number_unreachable", "The number does not exist", now_ms(), "sender@test/1", "sms.outbound.bulk")
    for start in range(0, count, CHUNK):
        letters = [
            dead_letter(
                DeadLetterKey.OUTBOUND,
                outbound_body(batch_id, row, 1, "+86138****0000", "bulk"),
                OUTBOUND_TYPE,
                message_id(batch_id, row),
                batch_id,
                why,
            )
            for row in range(start, start + CHUNK)
        ]
        assert await publisher.publish_all(letters, 60) == {}
    await publisher.close()
    await running


async def nothing() -> None:
    """No preparation."""


@pytest.mark.parametrize("letters", [5_000, pytest.param(100_000, marks=pytest.mark.large)])
def test_many_letters_are_sent_again_once_each_by_a_command_that_is_killed(
    vhost: Vhost, letters: int, postgres_url: str, simulator: ServiceProcess, start: Start
) -> None:
    settings = {**settings_for(vhost, postgres_url, simulator), "SMS_PROVIDER_TIMEOUT_S": "30"}
    trio = Trio(vhost, simulator, settings, start).up()
    failed(trio, postgres_url, FEW)
    status, memory_of_few_mib, said = replay(settings)
    assert (status, said.split()[0]) == (0, str(FEW))
    batch_id = failed(trio, postgres_url, letters)

    # Where the copies are on the outbound queue, and neither the ledger nor the dead letters know it.
    status, _memory_mib, _said = replay(settings, SMS_CRASH_AT=f"letters.confirmed:{letters // 1000}")
    assert status == -signal.SIGKILL
    status, memory_mib, said = replay(settings)
    assert status == 0, said
    assert "sent again" in said
    assert memory_mib < memory_of_few_mib + MORE_MEMORY_MIB

    assert trio.finished(batch_id, 300) == {"sent": letters}
    assert trio.provider_calls(batch_id) == {message_id(batch_id, row): 1 for row in range(letters)}
    eventually(lambda: trio.depths()[DEAD_LETTER] == 0)
