"""Policies on a real broker: what they do to our queues, who sees it, and what is accepted meanwhile."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pika
import pytest
import requests

from shared.management import NotAllowed, Unanswered, management_api
from shared.policies import Flaw
from shared.policy_watch import look_at_policies
from shared.settings import Settings
from shared.topology import BATCHES, DEAD_LETTER, DEAD_LETTER_BATCHES_QUEUE, OUTBOUND, RETRY, build_topology
from tests.conftest import Start
from tests.support.api import get, post
from tests.support.brokers import Broker, Vhost
from tests.support.names import unlike_a_number
from tests.support.processes import ServiceProcess, eventually
from tests.support.standing_in import standing_in
from tests.support.trio import settings_for
from tools.ctl.broker import declare_all

TIER, ITS_KEY = f"{RETRY}.1m", "1m.bulk"
TOPOLOGY = build_topology([5, 60])
LOOKS_S = "0.3"


def put_policy(vhost: Vhost, definition: dict[str, Any], pattern: str = ".*", **more: Any) -> None:
    """Set the policy `harm`, or with `kind` an operator policy."""
    kind = more.pop("kind", "policies")
    body = {"pattern": pattern, "definition": definition, "apply-to": "all", **more}
    vhost.broker.api("PUT", f"{kind}/{quote(vhost.name, safe='')}/harm", json=body)


def clear_policy(vhost: Vhost, kind: str = "policies") -> None:
    vhost.broker.api("DELETE", f"{kind}/{vhost.name}/harm")


def settings_of(vhost: Vhost, **more: str) -> Settings:
    url = vhost.amqp_url.removesuffix(vhost.name) + quote(vhost.name, safe="")
    return Settings.model_validate(
        {"amqp_url": url, "management_url": vhost.management_url, "retry_tiers_s": "5,60", **more}
    )


async def seen(vhost: Vhost, **more: str) -> list[Flaw]:
    settings = settings_of(vhost, **more)
    return await look_at_policies(management_api(settings), settings.topology)


@pytest.fixture
def declared(each_vhost: Vhost) -> Vhost:
    declare_all(each_vhost.amqp_url, TOPOLOGY)
    return each_vhost


def publish(vhost: Vhost, exchange: str, key: str, count: int = 1) -> int:
    """Publish messages; how many the broker has refused."""
    refused = 0
    with pika.BlockingConnection(pika.URLParameters(vhost.amqp_url)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        for _ in range(count):
            try:
                channel.basic_publish(exchange, key, b"{}", mandatory=True)
            except pika.exceptions.NackError:
                refused += 1
    return refused


def depth(vhost: Vhost, queue: str) -> int:
    with pika.BlockingConnection(pika.URLParameters(vhost.amqp_url)) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


@pytest.mark.on_each
async def test_a_length_without_an_overflow_refuses_and_with_one_drops_as_it_is_judged(declared: Vhost) -> None:
    put_policy(declared, {"max-length": 1}, r"^sms\.batches$")
    assert await seen(declared) == []
    # A queue takes in a few more than its limit before it refuses.
    assert publish(declared, BATCHES, BATCHES, 30) > 0
    put_policy(declared, {"max-length": 1, "overflow": "drop-head"}, r"^sms\.batches$")
    (flaw,) = await seen(declared)
    assert {effect.key for effect in flaw.effects} == {"max-length", "overflow"}
    assert publish(declared, BATCHES, BATCHES, 30) == 0
    assert depth(declared, BATCHES) == 1


@pytest.mark.on_each
async def test_a_policys_shorter_ttl_expires_and_its_dead_letter_exchange_is_not_taken(declared: Vhost) -> None:
    put_policy(declared, {"message-ttl": 1, "dead-letter-exchange": "nowhere"}, r"^sms\.batches$")
    (flaw,) = await seen(declared)
    assert [(effect.key, effect.may_lose) for effect in flaw.effects] == [("message-ttl", True)]
    publish(declared, BATCHES, BATCHES)
    eventually(lambda: depth(declared, BATCHES) == 0)
    eventually(lambda: depth(declared, DEAD_LETTER_BATCHES_QUEUE) == 1)


@pytest.mark.on_each
async def test_a_tiers_messages_go_where_a_policys_routing_key_leads(declared: Vhost) -> None:
    # Bound so that what goes astray is seen.
    declared.broker.api(
        "POST", f"bindings/{declared.name}/e/{OUTBOUND}/q/{DEAD_LETTER}", json={"routing_key": "astray"}
    )
    put_policy(declared, {"message-ttl": 1, "dead-letter-routing-key": "astray"}, r"^sms\.retry\.")
    (flaw,) = await seen(declared)
    assert {effect.key for effect in flaw.effects} == {"message-ttl", "dead-letter-routing-key"}
    publish(declared, RETRY, ITS_KEY)
    eventually(lambda: depth(declared, DEAD_LETTER) == 1)


@pytest.mark.on_each
async def test_policies_of_either_kind_are_seen_at_once_and_are_no_more_when_they_are_cleared(declared: Vhost) -> None:
    for kind, command in (("policies", "clear_policy"), ("operator-policies", "clear_operator_policy")):
        put_policy(declared, {"expires": 3_600_000}, kind=kind)
        (flaw,) = await seen(declared)
        assert flaw.command == f"rabbitmqctl {command} -p {declared.name} harm"
        assert len(flaw.effects) == len(TOPOLOGY.queues)
        clear_policy(declared, kind)
        assert await seen(declared) == []


@pytest.mark.on_each
async def test_a_policy_that_the_broker_does_not_apply_to_quorum_queues_is_no_flaw(declared: Vhost) -> None:
    put_policy(declared, {"queue-mode": "lazy", "message-ttl": 1000})
    assert await seen(declared) == []


async def test_queues_that_are_not_there_yet_are_judged_by_the_pattern(vhost: Vhost) -> None:
    put_policy(vhost, {"message-ttl": 1000}, r"^sms\.(batches|retry)")
    (flaw,) = await seen(vhost)
    assert [effect.queue for effect in flaw.effects] == [BATCHES, f"{RETRY}.5s", TIER]


@pytest.mark.on_each
async def test_a_virtual_host_with_a_slash_is_asked_and_named_in_the_command(each_vhost: Vhost) -> None:
    vhost = Vhost(each_vhost.broker, f"team/{unlike_a_number()}")
    path = f"vhosts/{quote(vhost.name, safe='')}"
    vhost.broker.api("PUT", path)
    try:
        put_policy(vhost, {"expires": 3_600_000})
        (flaw,) = await seen(vhost)
        assert flaw.command == f"rabbitmqctl clear_policy -p {vhost.name} harm"
    finally:
        vhost.broker.api("DELETE", path)


@pytest.fixture
def user(each_vhost: Vhost) -> Iterator[str]:
    """A user of the virtual host without a tag."""
    name = f"user-{unlike_a_number()}"
    tag(each_vhost.broker, name, "")
    everything = {"configure": ".*", "write": ".*", "read": ".*"}
    each_vhost.broker.api("PUT", f"permissions/{each_vhost.name}/{name}", json=everything)
    yield name
    each_vhost.broker.api("DELETE", f"users/{name}")


def tag(broker: Broker, user: str, tags: str) -> None:
    broker.api("PUT", f"users/{user}", json={"password": "made-up", "tags": tags})


@pytest.mark.on_each
async def test_a_user_needs_the_tag_management_and_no_more(declared: Vhost, user: str) -> None:
    put_policy(declared, {"expires": 3_600_000})
    url = declared.management_url.replace("://", f"://{user}:made-up@")
    with pytest.raises(NotAllowed, match=f"does not allow it to the user {user}"):
        await seen(declared, management_url=url)
    tag(declared.broker, user, "management")
    assert len(await seen(declared, management_url=url)) == 1


async def test_who_is_not_the_management_api_is_said_to_be_none(vhost: Vhost) -> None:
    with pytest.raises(Unanswered, match=r"the management API does not answer at http://127\.0\.0\.1:1$"):
        await seen(vhost, management_url="http://127.0.0.1:1")
    with standing_in() as somebody, pytest.raises(Unanswered, match="is not RabbitMQ's management API"):
        await seen(vhost, management_url=somebody.url)


@pytest.fixture
def settings(vhost: Vhost, sqlite_url: str, simulator: ServiceProcess) -> dict[str, str]:
    own = {"SMS_MANAGEMENT_URL": vhost.management_url, "SMS_POLICY_LOOK_S": LOOKS_S}
    return {**settings_for(vhost, sqlite_url, simulator), **own}


def checks(api: ServiceProcess) -> dict[str, bool]:
    found = get(api, "/readyz").json()["checks"]
    assert isinstance(found, dict)
    return found


def test_while_a_policy_may_lose_messages_the_api_accepts_nothing_new(
    start: Start, vhost: Vhost, settings: dict[str, str]
) -> None:
    api = start("services.api", **settings)
    assert post(api, Idempotency_Key="before").status_code == 202
    put_policy(vhost, {"message-ttl": 600_000})
    eventually(lambda: get(api, "/readyz").status_code == 503)
    assert [name for name, holds in checks(api).items() if not holds] == ["policies"]
    refused = post(api, Idempotency_Key="new")
    assert refused.status_code == 503
    assert int(refused.headers["Retry-After"]) >= 1
    assert "policy harm (pattern .*) sets message-ttl=600000 on sms.batches" in refused.json()["detail"]
    assert post(api).status_code == 503
    assert post(api, Idempotency_Key="before").status_code == 202
    assert f'"mend":"rabbitmqctl clear_policy -p {vhost.name} harm' in api.log
    clear_policy(vhost)
    eventually(lambda: get(api, "/readyz").status_code == 200)
    assert post(api, Idempotency_Key="new").status_code == 202
    assert "policies_in_order" in api.log


def test_an_api_that_starts_under_such_a_policy_never_accepts_anything(
    start: Start, vhost: Vhost, settings: dict[str, str]
) -> None:
    put_policy(vhost, {"expires": 3_600_000}, kind="operator-policies")
    api = start("services.api", wait=False, **settings)
    answers = set()

    def looked() -> bool:
        try:
            answers.add(post(api).status_code)
        except requests.ConnectionError:
            return False
        return not checks(api)["policies"] and all(holds for name, holds in checks(api).items() if name != "policies")

    eventually(looked, 60)
    eventually(lambda: "policy_harms_queues" in api.log)
    assert answers == {503}


def test_a_policy_for_dead_letters_is_said_and_holds_up_no_batch(
    start: Start, vhost: Vhost, settings: dict[str, str]
) -> None:
    put_policy(vhost, {"message-ttl": 86_400_000}, r"^sms\.dead-letter$")
    api = start("services.api", **settings)
    eventually(lambda: "policy_harms_queues" in api.log)
    assert post(api).status_code == 202


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "no management API is configured (SMS_MANAGEMENT_URL is empty)"),
        ("http://127.0.0.1:1", "the management API does not answer at http://127.0.0.1:1"),
    ],
)
def test_where_policies_cannot_be_asked_for_it_is_said_once_and_all_goes_on(
    start: Start, settings: dict[str, str], url: str, reason: str
) -> None:
    api = start("services.api", **{**settings, "SMS_MANAGEMENT_URL": url})
    assert post(api).status_code == 202
    time.sleep(4 * float(LOOKS_S))
    lines = [json.loads(line) for line in api.log.splitlines() if "policies_not_checked" in line]
    assert [line["reason"] for line in lines] == [reason]


@pytest.mark.parametrize("module", ["services.dispatcher", "services.sender"])
def test_workers_say_it_at_their_start(start: Start, vhost: Vhost, settings: dict[str, str], module: str) -> None:
    put_policy(vhost, {"max-length": 5, "overflow": "drop-head"}, "outbound")
    worker = start(module, **settings)
    eventually(lambda: "policy_harms_queues" in worker.log)
    line = next(json.loads(line) for line in worker.log.splitlines() if "policy_harms_queues" in line)
    assert (line["level"], line["policy"]) == ("error", "harm")
    assert line["mend"].startswith(f"rabbitmqctl clear_policy -p {vhost.name} harm ")


def test_what_was_seen_holds_while_the_management_api_is_away(
    start: Start, vhost: Vhost, settings: dict[str, str]
) -> None:
    put_policy(vhost, {"message-ttl": 600_000})
    with standing_in(vhost.management_url) as management:
        api = start("services.api", wait=False, **{**settings, "SMS_MANAGEMENT_URL": management.url})
        eventually(lambda: "policy_harms_queues" in api.log, 60)
        management.passed_on_to = None  # something else answers
        eventually(lambda: "policies_not_checked" in api.log)
        clear_policy(vhost)
        time.sleep(4 * float(LOOKS_S))
        assert not checks(api)["policies"]
        management.passed_on_to = vhost.management_url
        eventually(lambda: post(api).status_code == 202)
