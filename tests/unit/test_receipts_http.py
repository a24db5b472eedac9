"""Receipts over HTTP, without broker and database: who is believed, what is published, what each vendor hears."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp.test_utils import TestClient, TestServer
from prometheus_client import REGISTRY

from services.api.app import build_app, build_parts
from services.api.intake.accepting import Broker
from services.api.receipts.handlers import LARGEST_PUSH, VendorCalls
from services.api.settings import ApiSettings
from shared.domain.outgoing import Outgoing
from shared.domain.receipts import digest_of
from shared.errors import PublishError, Rejected, SettingsError, Unconfirmed, Unroutable
from shared.settings import Settings, load
from shared.signatures import TwilioSigning, VonageSigning

Client = TestClient[Any, Any]
BATCH_ID = "0198c0de-0000-8000-8000-00000000abcd"
ONE, CALL = f"{BATCH_ID}:3:2", f"{BATCH_ID}:0-9"
MOBILE, NUMBER = "13900000001", "+8613900000001"
SEGMENT, TOKEN = "a-secret-of-the-path", "a token of the account"
PUBLIC_URL = "https://sms.example.test/behind/a-proxy"
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SECRETS = {"SEGMENT_OF_TEST": SEGMENT, "TOKEN_OF_TEST": TOKEN}
BY_PATH = '{ secret = "env:SEGMENT_OF_TEST" }'
BY_SIGNATURE = '{ signature_key = "env:TOKEN_OF_TEST" }'
PROVIDERS = {
    "ali": f'type = "aliyun"\nreceipts = {BY_PATH}',
    "ten": f'type = "tencent"\nreceipts = {BY_PATH}',
    "two": f'type = "twilio"\nreceipts = {BY_SIGNATURE}',
    "both": 'type = "twilio"\nreceipts = { secret = "env:SEGMENT_OF_TEST", signature_key = "env:TOKEN_OF_TEST" }',
    "von": f'type = "vonage"\nreceipts = {BY_SIGNATURE}',
    "info": f'type = "infobip"\nreceipts = {BY_PATH}',
    "own": f'type = "plain"\nreceipts = {BY_PATH}',
    "gate": f'type = "http"\nreceipts = {BY_PATH}',
    "near": 'type = "plain"\nreceipts = { secret = "env:SEGMENT_OF_TEST", addresses = ["127.0.0.0/8", "::1"] }',
    "far": 'type = "plain"\nreceipts = { secret = "env:SEGMENT_OF_TEST", addresses = ["203.0.113.0/24"] }',
    "quiet": 'type = "plain"',
}
AT = "2026-11-27 16:01:00"
ALIYUN = [{"phone_number": MOBILE, "report_time": AT, "success": True, "biz_id": "b^0", "out_id": CALL}]
TENCENT = [{"user_receive_time": AT, "nationcode": "86", "mobile": MOBILE, "report_status": "SUCCESS", "sid": "s:1"}]
INFOBIP = {"results": [{"messageId": ONE, "to": MOBILE, "status": {"groupId": 3, "id": 5}}]}
PLAIN = {"reference": ONE, "status": "undelivered", "code": "absent", "message": f"{MOBILE} is off"}
TWILIO = {"MessageSid": "SM1", "MessageStatus": "delivered", "To": NUMBER, "AccountSid": "AC1"}
VONAGE = {"msisdn": NUMBER[1:], "to": "Acme", "messageId": "0A1", "status": "delivered", "client-ref": ONE}


@dataclass
class FakeBroker:
    """Takes what is published, or refuses it."""

    published: list[Outgoing] = field(default_factory=list)
    refuses: PublishError | None = None
    asked_to_declare: int = 0

    async def publish(self, outgoing: Outgoing, _timeout_s: float) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.published.append(outgoing)

    def declare_again(self) -> None:
        self.asked_to_declare += 1

    @property
    def body(self) -> dict[str, Any]:
        (outgoing,) = self.published
        content: dict[str, Any] = json.loads(outgoing.body)
        return content


@dataclass
class Post:
    """A vendor's call."""

    path: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    method: str = "POST"

    async def to(self, client: Client) -> Any:
        return await client.request(
            self.method, self.path, data=self.body, headers=self.headers, skip_auto_headers=["Content-Type"]
        )


@pytest.fixture
def broker() -> FakeBroker:
    return FakeBroker()


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets settings, with the providers of these tests."""

    def put(providers: dict[str, str] = PROVIDERS, **variables: str) -> None:
        file = tmp_path / "providers.toml"
        file.write_text("\n".join(f"[providers.{name}]\n{table}" for name, table in providers.items()))
        ours = {"SMS_DATABASE_URL": f"sqlite:///{tmp_path}/none.sqlite3", "SMS_PROVIDERS_FILE": str(file)}
        for name, value in {**ours, **SECRETS, **variables}.items():
            monkeypatch.setenv(name, value)

    return put


@pytest.fixture
async def serve(environment: Callable[..., None], broker: FakeBroker) -> AsyncIterator[Callable[..., Any]]:
    clients: list[Client] = []

    async def start(**variables: str) -> Client:
        environment(**variables)
        settings = ApiSettings()
        parts = build_parts(settings)
        calls = VendorCalls(Broker(broker, broker, parts.policies), settings.public_url, 1)
        calls.use(settings.all_providers)
        app = build_app(settings, replace(parts, vendor_calls=calls), asyncio.Event())
        client = TestClient(TestServer(app))
        clients.append(client)
        await client.start_server()
        return client

    yield start
    for client in clients:
        await client.close()


def as_json(provider: str, content: object, segment: str = f"/{SEGMENT}", **headers: str) -> Post:
    return Post(f"/v1/receipts/{provider}{segment}", json.dumps(content).encode(), {**JSON, **headers})


def twilio(base: str = PUBLIC_URL, path: str = f"/v1/receipts/two?reference={ONE}", **forged: str) -> Post:
    signature = TwilioSigning(TOKEN).of(f"{base}{path}", TWILIO.items())
    body = urlencode({**TWILIO, **forged}).encode()
    return Post(path, body, {**FORM, "X-Twilio-Signature": signature})


def vonage(age_s: float = 0, key: str = TOKEN, **forged: str) -> Post:
    fields = {**VONAGE, "timestamp": str(int(time.time() - age_s)), "nonce": "n"}
    fields["sig"] = VonageSigning(key, "sha256").of(fields)
    return Post("/v1/receipts/von", urlencode({**fields, **forged}).encode(), FORM)


def as_query(post: Post) -> Post:
    return Post(f"{post.path}?{post.body.decode()}", method="GET")


def refused(provider: str, reason: str) -> float:
    labels = {"what": "receipts", "provider": provider, "reason": reason}
    return REGISTRY.get_sample_value("sms_api_vendor_calls_refused_total", labels) or 0


async def problem(answer: Any) -> str:
    document = await answer.json(content_type="application/problem+json")
    text = json.dumps(document)
    assert document["status"] == answer.status
    assert not any(secret in text for secret in (MOBILE, SEGMENT, TOKEN))
    detail: str = document["detail"]
    return detail


GOOD: dict[str, Callable[[], Post]] = {
    "ali": lambda: as_json("ali", ALIYUN),
    "ten": lambda: as_json("ten", TENCENT),
    "two": twilio,
    "both": lambda: twilio(path=f"/v1/receipts/both/{SEGMENT}?reference={ONE}"),
    "von": vonage,
    "info": lambda: as_json("info", INFOBIP),
    "own": lambda: as_json("own", PLAIN),
    "gate": lambda: as_json("gate", PLAIN),
    "near": lambda: as_json("near", PLAIN),
}
HEARD = {
    "ali": (200, '{"code":0,"msg":"成功"}'.encode(), "application/json"),
    "ten": (200, b'{"result":0,"errmsg":"OK"}', "application/json"),
    "two": (204, b"", None),
    "both": (204, b"", None),
    "von": (200, b"{}", "application/json"),
    "info": (204, b"", None),
    "own": (200, b'{"success":true}', "application/json"),
    "gate": (200, b'{"success":true}', "application/json"),
    "near": (200, b'{"success":true}', "application/json"),
}


@pytest.mark.parametrize("provider", GOOD)
async def test_each_vendor_hears_what_it_waits_for_and_needs_no_key(
    serve: Any, broker: FakeBroker, provider: str
) -> None:
    client = await serve(SMS_PUBLIC_URL=PUBLIC_URL, SMS_API_KEYS="a-key-of-the-apis-clients")
    answer = await GOOD[provider]().to(client)
    assert (answer.status, await answer.read(), answer.headers.get("Content-Type")) == HEARD[provider]
    assert len(broker.published) == 1


async def test_a_vendor_behind_a_proxy_needs_no_key(serve: Any, broker: FakeBroker) -> None:
    client = await serve()
    post = as_json("own", PLAIN, **{"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9"})
    assert (await post.to(client)).status == 200
    assert len(broker.published) == 1


EXPECTED = {
    "ali": {
        "status": "delivered",
        "reference": CALL,
        "recipient": digest_of(BATCH_ID, NUMBER),
        "message_id": "b^0",
        "at_ms": 1795766460000,
    },
    "ten": {"status": "delivered", "message_id": "s:1", "at_ms": 1795766460000},
    "two": {"status": "delivered", "reference": ONE, "message_id": "SM1"},
    "von": {"status": "delivered", "reference": ONE, "message_id": "0A1", "is_of_a_part": True},
    "info": {"status": "delivered", "reference": ONE, "message_id": ONE},
    "own": {"status": "undelivered", "reference": ONE, "code": "absent", "reason": "139****0001 is off"},
}


@pytest.mark.parametrize("provider", EXPECTED)
async def test_what_a_vendor_tells_is_published_without_a_number_in_full(
    serve: Any, broker: FakeBroker, provider: str
) -> None:
    client = await serve(SMS_PUBLIC_URL=PUBLIC_URL)
    begun_ms = time.time() * 1000
    await GOOD[provider]().to(client)
    (outgoing,) = broker.published
    assert (outgoing.exchange, outgoing.routing_key, outgoing.type) == (
        "sms.receipts",
        "sms.receipts",
        "sms.receipts.v1",
    )
    assert MOBILE.encode() not in outgoing.body
    received_at_ms = broker.body.pop("received_at_ms")
    assert begun_ms - 1 <= received_at_ms <= time.time() * 1000
    assert broker.body == {"provider": provider, "received_at_ms": received_at_ms, "receipts": [EXPECTED[provider]]}


async def test_what_is_pushed_at_once_is_published_at_once(serve: Any, broker: FakeBroker) -> None:
    client = await serve()
    await as_json("own", [PLAIN, {**PLAIN, "status": "delivered"}]).to(client)
    assert [receipt["status"] for receipt in broker.body["receipts"]] == ["undelivered", "delivered"]


async def test_a_push_without_a_receipt_is_heard_and_nothing_is_published(serve: Any, broker: FakeBroker) -> None:
    client = await serve()
    answer = await as_json("ten", []).to(client)
    assert (answer.status, await answer.read()) == HEARD["ten"][:2]
    assert broker.published == []


async def test_aliyuns_console_finds_us_with_the_secret_only(serve: Any, broker: FakeBroker) -> None:
    client = await serve()
    answer = await client.get(f"/v1/receipts/ali/{SEGMENT}")
    assert (answer.status, await answer.read(), answer.content_type) == HEARD["ali"]
    assert (await client.get("/v1/receipts/ali/wrong")).status == 403
    assert broker.published == []


async def test_vonage_may_call_with_get(serve: Any, broker: FakeBroker) -> None:
    client = await serve()
    answer = await as_query(vonage()).to(client)
    assert (answer.status, await answer.read()) == (200, b"{}")
    assert broker.body["receipts"] == [EXPECTED["von"]]


@pytest.mark.parametrize("path", ["nobody", f"nobody/{SEGMENT}", "quiet", f"quiet/{SEGMENT}", "default", "%00", "%ff"])
async def test_of_who_is_to_tell_nothing_there_is_nothing_here(serve: Any, broker: FakeBroker, path: str) -> None:
    client = await serve()
    before = refused("", "no_such_provider")
    answer = await Post(f"/v1/receipts/{path}", json.dumps(PLAIN).encode(), JSON).to(client)
    assert answer.status == 404
    await problem(answer)
    assert refused("", "no_such_provider") == before + 1
    assert broker.published == []


WRONG: dict[str, tuple[str, str, Callable[[], Post]]] = {
    "a path without its secret": ("own", "path", lambda: as_json("own", PLAIN, "")),
    "another secret": ("own", "path", lambda: as_json("own", PLAIN, "/another-secret-of-a-path")),
    "the secret and more": ("own", "path", lambda: as_json("own", PLAIN, f"/{SEGMENT}x")),
    "a secret that is no ASCII": ("own", "path", lambda: as_json("own", PLAIN, "/%e5%af%86%ff%00")),
    "a secret where there is none": ("two", "path", lambda: twilio(path=f"/v1/receipts/two/{SEGMENT}")),
    "no signature": ("two", "signature", lambda: replace(twilio(), headers=FORM)),
    "another text": ("two", "signature", lambda: twilio(MessageStatus="failed")),
    "another url": ("two", "signature", lambda: replace(twilio(), path=f"/v1/receipts/two?reference={CALL}")),
    "a signature of the address that we listen on": ("two", "signature", lambda: twilio("http://127.0.0.1")),
    "a form that is none": ("two", "signature", lambda: replace(twilio(), body=b"\xff")),
    "the path alone of both": ("both", "signature", lambda: as_json("both", TWILIO)),
    "the signature alone of both": ("both", "path", lambda: twilio(path="/v1/receipts/both")),
    "another key": ("von", "signature", lambda: vonage(key="another")),
    "another status": ("von", "signature", lambda: vonage(status="failed")),
    "nothing signed": ("von", "signature", lambda: Post("/v1/receipts/von", urlencode(VONAGE).encode(), FORM)),
    "nothing at all": ("von", "signature", lambda: Post("/v1/receipts/von")),
    "more than five minutes ago": ("von", "too_old", lambda: vonage(age_s=310)),
    "more than five minutes from now": ("von", "too_old", lambda: vonage(age_s=-310)),
    "not from there": ("far", "address", lambda: as_json("far", PLAIN)),
    "not from there, whatever a header says": (
        "far", "address", lambda: as_json("far", PLAIN, **{"X-Forwarded-For": "203.0.113.1"})
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
async def test_who_does_not_prove_to_be_the_provider_is_refused_and_counted(
    serve: Any, broker: FakeBroker, name: str
) -> None:
    provider, reason, post = WRONG[name]
    client = await serve(SMS_PUBLIC_URL=PUBLIC_URL)
    before = refused(provider, reason)
    answer = await post().to(client)
    assert answer.status == 403
    assert await problem(answer) == "This is not known to come from the provider."
    assert refused(provider, reason) == before + 1
    assert broker.published == []


def signed_without_a_time(**fields: str) -> Post:
    told = {**VONAGE, **fields}
    told["sig"] = VonageSigning(TOKEN, "sha256").of(told)
    return Post("/v1/receipts/von", urlencode(told).encode(), FORM)


@pytest.mark.parametrize("timestamp", [None, "", "soon", "-1", "1e9", "٣", "9" * 30])
async def test_a_vonage_call_that_is_signed_without_a_time_is_refused(serve: Any, timestamp: str | None) -> None:
    client = await serve()
    post = signed_without_a_time(**({} if timestamp is None else {"timestamp": timestamp}))
    assert (await post.to(client)).status == 403


async def test_a_vonage_call_of_four_minutes_ago_is_taken(serve: Any) -> None:
    client = await serve()
    assert (await vonage(age_s=240).to(client)).status == 200


async def test_a_vonage_signature_may_be_in_capitals(serve: Any) -> None:
    client = await serve()
    post = vonage()
    body, _, signature = post.body.decode().rpartition("sig=")
    assert (await replace(post, body=f"{body}sig={signature.upper()}".encode()).to(client)).status == 200


@pytest.mark.parametrize("public_url", ["https://sms.example.test", PUBLIC_URL, "https://sms.example.test:8443/a/b/"])
async def test_twilios_signature_is_over_the_public_url_with_its_path(serve: Any, public_url: str) -> None:
    client = await serve(SMS_PUBLIC_URL=public_url)
    assert (await twilio(public_url.rstrip("/")).to(client)).status == 204
    assert (await twilio("https://other.example.test").to(client)).status == 403


async def test_without_a_public_url_twilios_signature_is_over_the_url_that_was_called(serve: Any) -> None:
    client = await serve()
    assert (await twilio(str(client.make_url("")).rstrip("/")).to(client)).status == 204
    assert (await twilio().to(client)).status == 403


async def test_a_query_is_signed_as_it_was_written(serve: Any, broker: FakeBroker) -> None:
    client = await serve(SMS_PUBLIC_URL=PUBLIC_URL)
    escaped = ONE.replace(":", "%3A")
    assert (await answered_raw(client, twilio(path=f"/v1/receipts/two?x=%7E+a&reference={escaped}"))).startswith("204")
    assert broker.body["receipts"] == [EXPECTED["two"]]


async def answered_raw(client: Client, post: Post, host: bytes = b"sms.example.test") -> str:
    """Status and reason of a call that is sent byte by byte as it is."""
    reader, writer = await asyncio.open_connection(client.host, client.port)
    headers = "".join(f"{name}: {value}\r\n" for name, value in post.headers.items()).encode()
    line = f"{post.method} ".encode() + post.path.encode("utf-8", "surrogateescape") + b" HTTP/1.1\r\n"
    length = f"Content-Length: {len(post.body)}\r\nConnection: close\r\n\r\n".encode()
    writer.write(line + b"Host: " + host + b"\r\n" + headers + length + post.body)
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.split(b"\r\n", 1)[0].decode().partition(" ")[2]


@pytest.mark.parametrize("host", [b"[bad", b"host:99999999", b"host:port", b"\xff", b""])
async def test_a_host_that_is_none_is_nothing_that_twilio_has_signed(
    serve: Any, broker: FakeBroker, host: bytes
) -> None:
    client = await serve()
    assert (await answered_raw(client, twilio(), host))[:3] in ("400", "403")
    assert broker.published == []


@pytest.mark.parametrize("provider", ["two", "von", f"own/{SEGMENT}", "own/\udcff", f"info/{SEGMENT}"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_bytes_that_are_no_text_are_no_failure_of_ours(
    serve: Any, broker: FakeBroker, provider: str, method: str
) -> None:
    client = await serve()
    post = Post(f"/v1/receipts/{provider}?sig=\udcff&status=\udcff&\udcff=1", method=method)
    assert (await answered_raw(client, post))[:3] in ("400", "403")
    assert broker.published == []


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
async def test_nothing_but_get_and_post_tells_receipts(serve: Any, broker: FakeBroker, method: str) -> None:
    client = await serve()
    assert (await replace(as_json("own", PLAIN), method=method).to(client)).status == 405
    assert broker.published == []


@pytest.mark.parametrize("provider", ["ali", "ten", "info", "own", "gate"])
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"7", f'["{MOBILE}"]'.encode(), b'[{"status": 1}]'])
async def test_what_is_no_receipt_is_malformed_and_counted(
    serve: Any, broker: FakeBroker, provider: str, body: bytes
) -> None:
    client = await serve()
    before = refused(provider, "malformed")
    answer = await Post(f"/v1/receipts/{provider}/{SEGMENT}", body, JSON).to(client)
    assert answer.status == 400
    assert (await problem(answer)).startswith("No receipts of this provider: ")
    assert refused(provider, "malformed") == before + 1
    assert broker.published == []


async def test_one_odd_entry_keeps_none_of_the_others_back(serve: Any, broker: FakeBroker) -> None:
    client = await serve()
    odd = {"status": 7, "reference": ONE}
    assert (await as_json("own", [odd, PLAIN, odd]).to(client)).status == 200
    (published,) = broker.published
    assert len(json.loads(published.body)["receipts"]) == 1


async def test_what_is_not_the_last_word_is_heard_and_not_published(serve: Any, broker: FakeBroker) -> None:
    client = await serve()
    assert (await as_json("own", {"status": "buffered", "reference": ONE}).to(client)).status == 200
    assert broker.published == []


async def test_a_body_that_nothing_signed_speaks_of_is_refused(serve: Any, broker: FakeBroker) -> None:
    client = await serve()
    path = f"/v1/receipts/two?reference={ONE}"
    signature = TwilioSigning(TOKEN).of(f"{PUBLIC_URL}{path}")
    body = json.dumps({"MessageStatus": "delivered"}).encode()
    answer = await Post(path, body, {**JSON, "X-Twilio-Signature": signature}).to(client)
    assert (answer.status, broker.published) == (403, [])


async def test_a_stranger_is_refused_before_its_body_is_looked_at(serve: Any, broker: FakeBroker) -> None:
    client = await serve()
    answer = await Post("/v1/receipts/own/not-the-secret", b"", {**JSON, "Content-Encoding": "gzip"}).to(client)
    assert (answer.status, broker.published) == (403, [])


async def test_a_signed_call_without_a_status_is_malformed(serve: Any) -> None:
    client = await serve()
    fields = {"msisdn": NUMBER[1:], "text": "STOP", "timestamp": str(int(time.time()))}
    fields["sig"] = VonageSigning(TOKEN, "sha256").of(fields)
    answer = await Post("/v1/receipts/von", urlencode(fields).encode(), FORM).to(client)
    assert (answer.status, await problem(answer)) == (400, "No receipts of this provider: there is no status")


async def test_a_push_of_more_than_a_mebibyte_is_too_large(serve: Any, broker: FakeBroker) -> None:
    client = await serve(SMS_MAX_BODY_BYTES=str(4 * LARGEST_PUSH))
    whole = json.dumps(PLAIN).encode().ljust(LARGEST_PUSH)
    post = as_json("own", PLAIN)
    assert (await answered_raw(client, replace(post, body=whole))).startswith("200")
    assert (await answered_raw(client, replace(post, body=whole + b" "))).startswith("413")
    assert len(broker.published) == 1


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
async def test_a_body_with_an_encoding_is_refused(serve: Any, broker: FakeBroker, encoding: str) -> None:
    client = await serve()
    post = as_json("own", PLAIN, **{"Content-Encoding": encoding})
    assert (await answered_raw(client, post)).startswith("415")
    assert broker.published == []


@pytest.mark.parametrize("provider", GOOD)
@pytest.mark.parametrize("error", [Unconfirmed, Rejected, Unroutable])
async def test_what_the_broker_has_not_confirmed_is_never_answered_as_taken(
    serve: Any, broker: FakeBroker, provider: str, error: type[PublishError]
) -> None:
    client = await serve(SMS_PUBLIC_URL=PUBLIC_URL)
    broker.refuses = error("refused")
    answer = await GOOD[provider]().to(client)
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert await problem(answer) == "The broker did not confirm the receipts; send them again."
    assert broker.asked_to_declare == (error is Unroutable)


async def test_a_call_that_came_again_after_a_503_is_taken(serve: Any, broker: FakeBroker) -> None:
    client = await serve()
    broker.refuses = Unconfirmed("late")
    assert (await as_json("own", PLAIN).to(client)).status == 503
    broker.refuses = None
    assert (await as_json("own", PLAIN).to(client)).status == 200


async def test_no_secret_of_a_path_is_in_the_metrics(serve: Any) -> None:
    client = await serve()
    await as_json("own", PLAIN).to(client)
    await as_json("own", PLAIN, "/a-guess-of-the-secret").to(client)
    text = await (await client.get("/metrics")).text()
    assert 'route="/v1/receipts/{provider}/{secret}"' in text
    assert SEGMENT not in text
    assert "a-guess-of-the-secret" not in text


# Settings


@pytest.fixture
def wrong(environment: Callable[..., None]) -> Callable[..., str]:
    """The sentence about a provider with these settings."""

    def sentence(kind: str, receipts: str, **variables: str) -> str:
        environment({"own": f'type = "{kind}"\nreceipts = {receipts}'}, **variables)
        with pytest.raises(SettingsError) as ended:
            build_parts(load(ApiSettings))
        assert "\n" not in str(ended.value)
        return str(ended.value)

    return sentence


@pytest.fixture(autouse=True)
def _no_public_url_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv("SMS_PUBLIC_URL", raising=False)
    return iter(())


@pytest.mark.parametrize("key", ["secret", "signature_key"])
@pytest.mark.parametrize("reference", ["env:NOT_THERE", "file:/not/there"])
def test_a_secret_that_cannot_be_read_is_named_by_its_place(wrong: Any, key: str, reference: str) -> None:
    sentence = wrong("twilio", f'{{ {key} = "{reference}" }}')
    assert sentence.startswith("SMS_PROVIDERS_FILE: providers.own.receipts: ")
    assert reference.partition(":")[2] in sentence


@pytest.mark.parametrize("segment", ["short", "fifteen-letters", "with/a/slash/in/it", "with a blank in it", "秘" * 16])
def test_a_secret_that_can_be_guessed_or_is_no_segment_of_a_path_is_refused(wrong: Any, segment: str) -> None:
    sentence = wrong("plain", BY_PATH, SEGMENT_OF_TEST=segment)
    assert sentence.startswith("SMS_PROVIDERS_FILE: providers.own.receipts")
    assert "16 or more" in sentence
    assert segment not in sentence


@pytest.mark.parametrize(
    ("kind", "receipts", "named"),
    [
        ("plain", BY_SIGNATURE, "plain signs no receipts; give receipts.secret"),
        ("aliyun", BY_SIGNATURE, "aliyun signs no receipts"),
        ("plain", "{}", "receipts: give secret, or signature_key"),
        ("plain", '{ addresses = ["127.0.0.1"] }', "receipts: give secret, or signature_key"),
        ("plain", f'{{ secret = "{SEGMENT}" }}', "receipts.secret: write where the secret is"),
        ("plain", '{ secret = "env:" }', "receipts.secret: write where the secret is"),
        ("vonage", '{ signature_key = "env:A", signature_method = "md4" }', "receipts.signature_method: "),
        ("plain", '{ secret = "env:A", addresses = ["here"] }', "receipts.addresses.0: an address or a network"),
        ("plain", '{ secret = "env:A", addresses = ["10.0.0.1/8"] }', "receipts.addresses.0: an address or a network"),
        ("plain", '{ secret = "env:A", addresses = "10.0.0.1" }', "receipts.addresses: "),
        ("plain", '{ secret = "env:A", adresses = [] }', "receipts.adresses: "),
        ("plain", '"env:A"', "receipts: "),
    ],
)
def test_settings_of_receipts_that_are_wrong_are_named(wrong: Any, kind: str, receipts: str, named: str) -> None:
    sentence = wrong(kind, receipts)
    assert sentence.startswith("SMS_PROVIDERS_FILE: providers.own")
    assert named in sentence
    assert SEGMENT not in sentence


def test_settings_of_receipts_show_no_secret(environment: Any) -> None:
    environment()
    shown = repr(load(ApiSettings).all_providers)
    assert SEGMENT not in shown
    assert TOKEN not in shown


@pytest.mark.parametrize(
    "url",
    [
        "sms.example.test",
        "ftp://sms.example.test",
        "https://",
        "https:///path",
        "https://:443",
        "https://[::1",
        "https://sms.example.test:port",
        "https://sms.example.test:0",
        "https://sms.example.test:65536",
        "https://user:hunter2@sms.example.test",
        "https://user@sms.example.test",
        "https://sms.example.test/?a=1",
        "https://sms.example.test/#a",
        "https://sms.example.test?",
        "https://sms.example.test#",
        "https://sms.example.test/a b",
        "https://sms.example.test ",
        "https://sms.example.test\n",
        "https://sms.example.test\t/a",
    ],
)
def test_a_public_url_that_is_none_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SMS_PUBLIC_URL", url)
    with pytest.raises(SettingsError) as refusal:
        load(Settings)
    assert str(refusal.value).startswith("SMS_PUBLIC_URL: ")
    assert "\n" not in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    ("public_url", "provider", "callback"),
    [
        ("https://sms.example.test", "two", "https://sms.example.test/v1/receipts/two"),
        ("https://sms.example.test/", "own", f"https://sms.example.test/v1/receipts/own/{SEGMENT}"),
        (f"{PUBLIC_URL}/", "both", f"{PUBLIC_URL}/v1/receipts/both/{SEGMENT}"),
        ("http://[::1]:8080", "two", "http://[::1]:8080/v1/receipts/two"),
        (PUBLIC_URL, "quiet", None),
        ("", "own", None),
    ],
)
def test_vendors_are_told_the_url_at_which_their_receipts_are_taken(
    environment: Any, public_url: str, provider: str, callback: str | None
) -> None:
    environment(SMS_PUBLIC_URL=public_url)
    assert load(Settings).callback_of(provider) == callback
