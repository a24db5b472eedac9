"""Numbers that opted out: none is called, whether it was on the list before the batch or since a moment ago."""

from pathlib import Path
from typing import Any

import pytest
import requests

from shared.clock import now_ms
from shared.domain.outcome import Outcome
from shared.domain.states import State
from shared.ledger.database import Database
from shared.ledger.intake import Content, IntakeLedger, NewRow
from shared.ledger.sending import Recorded, SendingLedger
from shared.ledger.suppressions import EVERY_SENDER, Source, Suppression, SuppressionLedger
from tests.conftest import Start
from tests.integration.test_ledger import a_batch, states, written
from tests.integration.test_recovery import plain
from tests.support.brokers import Vhost
from tests.support.forking.process import outside_environment, run
from tests.support.processes import ServiceProcess, eventually
from tests.support.trio import Trio, settings_for


def entry(recipient: str, sender_name: str = EVERY_SENDER, **more: Any) -> Suppression:
    return Suppression(recipient, sender_name, more.pop("source", Source.OPERATOR), more.pop("reason", None), now_ms())


@pytest.mark.on_each
async def test_the_list_is_kept_and_read_in_pages(database: Database) -> None:
    ledger = SuppressionLedger(database)
    numbers = [f"+861380000{row:04d}" for row in range(5)]
    assert await ledger.add([*map(entry, numbers), entry(numbers[0])]) == 5
    assert await ledger.add([entry(numbers[0], reason="again"), entry(numbers[0], "brand")]) == 1
    first = await ledger.page(3)
    rest = await ledger.page(10, first[-1][0])
    found = [(each.recipient, each.sender_name) for _id, each in [*first, *rest]]
    assert found == [*((number, "") for number in numbers), (numbers[0], "brand")]
    assert first[0][1].reason is None
    assert await ledger.page(10, recipient=numbers[1]) == [first[1]]
    assert await ledger.remove([(numbers[1], ""), (numbers[2], "brand")]) == 1
    assert await ledger.remove_of([numbers[0]], None) == 2
    assert await ledger.count() == 3


@pytest.mark.on_each
async def test_of_a_stop_and_a_start_the_later_one_holds_in_whatever_order_they_come(database: Database) -> None:
    ledger, number = SuppressionLedger(database), "+8613800000000"

    def stop(at_ms: int) -> Suppression:
        return Suppression(number, "", Source.RECIPIENT, None, at_ms)

    await ledger.add([stop(2000)])
    assert await ledger.let_in_again(number, "", 1000) == 0
    await ledger.add([stop(3000)])
    assert await ledger.let_in_again(number, "", 2500) == 0
    assert await ledger.let_in_again(number, "", 3500) == 1
    await ledger.add([entry(number)])
    await ledger.add([stop(now_ms() + 1)])
    assert await ledger.let_in_again(number, "", now_ms() + 1000) == 0  # an operator put it there


@pytest.mark.on_each
async def test_who_opted_out_is_written_as_suppressed(database: Database) -> None:
    batch = a_batch(4)
    numbers = list(map(str, batch.recipients))
    names = [(numbers[0], ""), (numbers[1], "brand"), (numbers[2], "another"), (numbers[3], "")]
    await SuppressionLedger(database).add([entry(*each) for each in names])
    intake = IntakeLedger(database)
    progress = await intake.begin(batch, Content("text", "text"), None)
    rows = [NewRow(number, State.PENDING, segments=1) for number in numbers[:3]]
    rows.append(NewRow(numbers[3], State.DUPLICATE))
    assert await intake.write(batch.batch_id, progress, rows, now_ms(), "brand")
    assert await states(database, batch) == {"suppressed": 2, "pending": 1, "duplicate": 1}


@pytest.mark.on_each
async def test_who_opts_out_is_not_claimed_any_more(database: Database) -> None:
    batch = await written(database, a_batch(3))
    ledger = SendingLedger(database, sender_name="brand")
    keys = {(batch.batch_id, row): 0 for row in range(3)}
    names = [(str(batch.recipients[0]), ""), (str(batch.recipients[1]), "brand"), (str(batch.recipients[2]), "another")]
    await SuppressionLedger(database).add([entry(*each) for each in names])
    claims = await ledger.claim(keys, "token", now_ms())
    assert list(claims.ours) == [(batch.batch_id, 2)]
    assert all(row.is_suppressed for row in claims.others.values())
    suppressed = Outcome(State.SUPPRESSED, "opted_out", "The recipient opted out")
    assert len(await ledger.move([(row, suppressed) for row in claims.others.values()], now_ms())) == 2
    await ledger.record([Recorded(batch.batch_id, 2, 1, Outcome(State.SENT, None, None, 200, "id"))], now_ms())
    assert await states(database, batch) == {"suppressed": 2, "sent": 1}


async def test_a_stop_that_comes_while_a_batch_goes_out_holds_for_what_has_not_begun(
    vhost: Vhost, database_url: str, simulator: ServiceProcess, start: Start
) -> None:
    settings = {**settings_for(vhost, database_url, simulator), "SMS_PROVIDER_RATE": "100", "SMS_PREFETCH": "20"}
    trio = Trio(vhost, simulator, settings, start).up(senders=2)
    numbers = plain(600)
    batch_id = trio.post(numbers)
    eventually(lambda: trio.batch(batch_id)["counts"].get("sent", 0) > 50)
    database = Database(database_url)
    await SuppressionLedger(database).add([entry(number) for number in numbers[-100:]])
    await database.close()
    assert trio.finished(batch_id) == {"sent": 500, "suppressed": 100}
    assert len(trio.provider_calls(batch_id)) == 500
    suppressed = trio.messages(batch_id, state="suppressed")
    assert {(message["error_code"], message["attempts"]) for message in suppressed} == {("opted_out", 0)}
    again = trio.post(numbers[-10:])
    assert trio.finished(again) == {"suppressed": 10}
    assert trio.depths()["sms.dead-letter"] == 0


def test_the_list_over_http_and_on_the_command_line(
    vhost: Vhost, database_url: str, simulator: ServiceProcess, start: Start, tmp_path: Path
) -> None:
    trio = Trio(vhost, simulator, settings_for(vhost, database_url, simulator), start)
    api = start("services.api", **trio.settings)

    def post(path: str, **body: Any) -> requests.Response:
        return requests.post(f"{api.url}/v1/suppressions{path}", json=body, timeout=30)

    def smsctl(*words: str) -> tuple[int, str]:
        ended = run("tools.ctl", "suppressions", *words, environment=outside_environment(**trio.settings), timeout_s=60)
        return ended.returncode, ended.stdout + ended.stderr

    first, second, third = (f"+861380013800{last}" for last in range(3))
    assert post("", recipients=[first, second, first], reason=f"asked by {third}").json() == {"added": 2, "known": 0}
    assert post("", recipients=[first]).json() == {"added": 0, "known": 1}
    refused = post("", recipients=[first, "13800138000"])
    assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (422, "/recipients/1")
    shown = requests.get(f"{api.url}/v1/suppressions", params={"limit": 1}, timeout=30)
    assert [entry["recipient"] for entry in shown.json()["suppressions"]] == ["+86138****8000"]
    assert third not in shown.text
    following = requests.get(
        f"{api.url}/v1/suppressions", params={"cursor": shown.json()["next_cursor"]}, timeout=30
    ).json()
    assert [entry["recipient"] for entry in following["suppressions"]] == ["+86138****8001"]
    assert post("/remove", recipients=[first, third]).json() == {"removed": 1}

    file = tmp_path / "list.csv"
    file.write_text("recipient,sender_name\n13800138000,\n" + f"{third},brand\n")
    assert smsctl("import", str(file)) == (0, "2 added, 0 on the list already\n")
    status, said = smsctl("list")
    assert (status, said.count("138****"), "3 on the list" in said) == (0, 4, True)  # one in a reason
    exported = tmp_path / "out.csv"
    assert smsctl("export", str(exported))[0] == 0
    assert exported.stat().st_mode & 0o777 == 0o600
    assert smsctl("remove", first, third) == (0, "2 removed\n")
    assert smsctl("import", str(exported)) == (0, "2 added, 1 on the list already\n")
    file.write_text("recipient\nnobody\n13800138009\n")
    status, said = smsctl("import", str(file))
    assert (status, "row 2: " in said) == (2, True)
    assert smsctl("add", "+8613800138009") == (0, "1 added, 0 on the list already\n")
