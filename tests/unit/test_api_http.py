"""The api's HTTP side without its broker and database: errors, keys, origins, documentation."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from openapi_spec_validator import validate

from services.api.app import build_app, build_parts
from services.api.documents.openapi import build_openapi
from services.api.settings import ApiSettings
from shared.domain.ids import keyed_batch_id

Client = TestClient[Any, Any]
KEYED = {"SMS_API_KEYS": "secret-one,secret-two", "SMS_CORS_ORIGINS": "https://a.example"}
BATCH_ID = keyed_batch_id("principal", "key")
JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture
async def serve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Callable[..., Any]]:
    clients: list[Client] = []

    async def start(**environment: str) -> Client:
        monkeypatch.setenv("SMS_DATABASE_URL", f"sqlite:///{tmp_path}/none.sqlite3")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        settings = ApiSettings()
        client = TestClient(TestServer(build_app(settings, build_parts(settings), asyncio.Event())))
        clients.append(client)
        await client.start_server()
        return client

    yield start
    for client in clients:
        await client.close()


async def problem(answer: Any) -> dict[str, Any]:
    assert answer.content_type == "application/problem+json"
    document: dict[str, Any] = await answer.json()
    assert document["status"] == answer.status
    assert set(document) == {"type", "title", "status", "detail", "errors"}
    assert all(set(flaw) == {"pointer", "detail"} for flaw in document["errors"])
    return document


BATCH = b'{"recipients": ["1"], "content": "x"}'
TEST = b'{"to": "1", "content": "x"}'


@pytest.mark.parametrize(
    ("method", "path", "headers", "body", "status"),
    [
        ("GET", "/nowhere", {}, None, 404),
        ("GET", "/v1/batches/not-an-id", {}, None, 404),
        ("GET", "/v1/batches/00000000-0000-0000-0000-000000000000/messages", {}, None, 404),
        ("GET", "/v1/batches/00000000-0000-0000-0000-000000000000/events", {}, None, 404),
        ("POST", "/v1/batches/not-an-id/cancel", {}, None, 404),
        ("GET", "/v1/batches/00000000-0000-0000-0000-000000000000/pause", {}, None, 405),
        ("POST", "/v1/providers/nobody/pause", {}, None, 404),
        ("POST", "/v1/providers/nobody/resume", {}, None, 404),
        ("POST", "/v1/providers/nobody/test", JSON, TEST, 404),
        ("POST", "/v1/providers/default/pause", {}, None, 503),
        ("GET", "/v1/providers", {}, None, 503),
        ("POST", "/v1/providers/default/test", {}, TEST, 415),
        ("POST", "/v1/providers/default/test", JSON, b"[]", 422),
        ("POST", "/v1/providers/default/test", JSON, b'{"to": "1"}', 422),
        ("POST", "/v1/providers/default/test", JSON, b'{"to": ["1"], "content": "x"}', 422),
        ("POST", "/v1/providers/default/test", JSON, b'{"to": "1", "content": "x", "provider": "other"}', 422),
        ("POST", "/v1/providers/default/test", JSON, TEST, 503),
        ("POST", f"/v1/batches/{BATCH_ID}/resume", {}, None, 503),
        ("GET", "/docs/../settings.py", {}, None, 404),
        ("GET", "/docs/docs.html", {}, None, 404),
        ("DELETE", "/v1/batches", {}, None, 405),
        ("GET", "/send-sms", {}, None, 405),
        ("POST", "/v1/batches", {}, BATCH, 415),
        ("POST", "/v1/batches", FORM, b"mobiles=1", 415),
        ("POST", "/send-sms", {"Content-Type": "multipart/form-data; boundary=x"}, b"--x--", 422),
        ("POST", "/send-sms", {"Content-Type": "multipart/form-data"}, b"--x--", 400),
        ("POST", "/send-sms", {"Content-Type": "application/x-www-form-urlencoded; charset=x"}, b"mobiles=1", 415),
        ("POST", "/send-sms", {"Content-Type": "application/json; charset=gbk"}, b"{}", 415),
        ("POST", "/v1/batches", {"Content-Type": "multipart/form-data; boundary=x"}, b"--x--", 415),
        ("POST", "/send-sms/", FORM, b"mobiles=1", 422),
        ("POST", "/v1/batches", {"Content-Type": "application/json; charset=gbk"}, BATCH, 415),
        ("POST", "/v1/batches", JSON, b"{", 400),
        ("POST", "/v1/batches", {**JSON, "Content-Encoding": "gzip"}, b"no gzip", 415),
        ("POST", "/send-sms", FORM, b"mobiles=%ff", 400),
        ("POST", "/v1/batches", JSON, b"{}", 422),
        ("POST", "/v1/batches", {**JSON, "Idempotency-Key": ""}, BATCH, 422),
        ("POST", "/v1/batches", {**JSON, "Idempotency-Key": "k" * 256}, BATCH, 422),
        ("POST", "/v1/batches", JSON, b'{"recipients":["1"],"content":"x","expires_at":"2020-01-01T00:00:00Z"}', 422),
        ("GET", "/v1/batches?limit=0", {}, None, 422),
        ("GET", "/v1/batches?limit=201", {}, None, 422),
        ("GET", "/v1/batches?limit=x", {}, None, 422),
        ("GET", "/v1/batches?cursor=x", {}, None, 422),
        ("GET", "/v1/batches?cursor=WzEsMl0=", {}, None, 422),
        ("POST", "/v1/batches", JSON, BATCH, 503),
        ("GET", "/v1/batches", {}, None, 503),
    ],
)
async def test_every_error_is_a_problem_document(
    serve: Any, method: str, path: str, headers: dict[str, str], body: bytes | None, status: int
) -> None:
    client = await serve()
    answer = await client.request(method, path, headers=headers, data=body, skip_auto_headers=["Content-Type"])
    assert answer.status == status
    document = await problem(answer)
    assert document["errors"] or status not in (400, 422)
    assert ("Retry-After" in answer.headers) == (status == 503)
    assert ("Allow" in answer.headers) == (status == 405)


async def test_a_test_of_the_provider_that_leaves_the_choice_is_refused_where_there_are_others(
    serve: Any, tmp_path: Path
) -> None:
    file = tmp_path / "providers.toml"
    file.write_text('[providers.default]\ntype = "plain"\n[providers.other]\ntype = "plain"\n')
    client = await serve(SMS_PROVIDERS_FILE=str(file))
    answer = await client.post("/v1/providers/default/test", headers=JSON, data=TEST)
    assert answer.status == 422
    assert "goes out by any provider" in (await problem(answer))["errors"][0]["detail"]
    assert (await client.post("/v1/providers/other/test", headers=JSON, data=TEST)).status == 503


async def test_a_batch_of_ours_that_is_not_written_yet_is_503_without_a_ledger(serve: Any) -> None:
    client = await serve()
    for below in ("", "/messages", "/events"):
        answer = await client.get(f"/v1/batches/{BATCH_ID}{below}")
        assert answer.status == 503
        await problem(answer)


@pytest.mark.parametrize("spelling", [BATCH_ID.upper(), BATCH_ID.replace("-", ""), BATCH_ID.replace("-", "").upper()])
@pytest.mark.parametrize("below", ["", "/messages", "/events", "/messages/0/attempts"])
async def test_an_id_in_another_spelling_is_the_same_batch(serve: Any, spelling: str, below: str) -> None:
    client = await serve()
    assert (await client.get(f"/v1/batches/{spelling}{below}")).status == 503  # not 404
    assert (await client.get(f"/v1/batches/{spelling[:-1]}0{below}")).status == 404


async def test_a_body_that_says_it_is_too_large_is_refused_unread(serve: Any) -> None:
    client = await serve(SMS_MAX_BODY_BYTES="100000")
    answer = await client.post("/v1/batches", headers={**JSON, "Content-Length": "100001"}, data=b"")
    assert answer.status == 413
    await problem(answer)
    assert answer.headers["Connection"] == "close"


async def test_a_body_that_turns_out_too_large_is_refused(serve: Any) -> None:
    client = await serve(SMS_MAX_BODY_BYTES="100000")

    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b" " * 10_000

    assert (await client.post("/v1/batches", headers=JSON, data=chunks())).status == 413


async def test_a_key_opens_what_needs_one(serve: Any) -> None:
    client = await serve(**KEYED)
    for path in ("/v1/batches", "/v1", "/v1/nowhere", "/send-sms", "/send-sms/"):
        answer = await client.get(path)
        assert answer.status == 401
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        await problem(answer)
    for wrong in ("Bearer secret", "Bearer ", "Basic secret-one", "secret-one", "Bearer é"):
        assert (await client.get("/v1/batches", headers={"Authorization": wrong})).status == 401
    for key in ("secret-one", "secret-two"):
        assert (await client.get("/v1/batches", headers={"Authorization": f"Bearer {key}"})).status == 503


async def test_health_metrics_and_documentation_are_open(serve: Any) -> None:
    client = await serve(**KEYED)
    statuses = {path: (await client.get(path)).status for path in
                ("/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/swagger-ui.css")}  # fmt: skip
    assert statuses.pop("/readyz") == 503
    assert set(statuses.values()) == {200}


async def test_a_configured_origin_may_ask_and_read_errors_too(serve: Any) -> None:
    client = await serve(**KEYED)
    origin = {"Origin": "https://a.example"}
    asked = await client.options("/send-sms", headers={**origin, "Access-Control-Request-Method": "POST",
                                                       "Access-Control-Request-Headers": "authorization"})  # fmt: skip
    assert asked.status == 204
    assert asked.headers["Access-Control-Allow-Origin"] == "https://a.example"
    taken = asked.headers["Access-Control-Allow-Headers"].split(", ")
    assert {"Authorization", "X-Requested-With", "X-CSRF-Token", "traceparent"} <= set(taken)
    refused = await client.post("/send-sms", headers=origin)
    assert refused.status == 401
    assert refused.headers["Access-Control-Allow-Origin"] == "https://a.example"
    assert refused.headers["Access-Control-Expose-Headers"] == "Location, Retry-After, Link"
    assert refused.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in {*asked.headers, *refused.headers}


async def test_another_origin_is_told_nothing(serve: Any) -> None:
    client = await serve(**KEYED)
    origin = {"Origin": "https://b.example"}
    asked = await client.options("/send-sms", headers={**origin, "Access-Control-Request-Method": "POST"})
    assert asked.status in (401, 405)
    assert "Access-Control-Allow-Origin" not in asked.headers
    assert asked.headers["Vary"] == "Origin"


async def test_metrics_count_by_route_not_by_path(serve: Any) -> None:
    client = await serve()
    await client.get("/v1/batches/some-id")
    await client.get("/some/where")
    text = await (await client.get("/metrics")).text()
    assert 'sms_api_requests_total{method="GET",route="/v1/batches/{batch_id}",status="404"}' in text
    assert 'sms_api_requests_total{method="GET",route="unmatched",status="404"}' in text
    assert "some-id" not in text


async def test_the_documentation_loads_nothing_from_elsewhere(serve: Any) -> None:
    client = await serve()
    page = await client.get("/docs")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'self'")
    text = await page.text()
    assert "://" not in text
    assert (await client.get("/docs/swagger-ui-bundle.js")).content_type == "text/javascript"


async def test_the_openapi_document_is_valid_with_keys_and_without(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    client = await serve()
    document = await (await client.get("/openapi.json")).json()
    validate(document)
    assert "security" not in document
    monkeypatch.setenv("SMS_API_KEYS", "k")
    keyed = build_openapi(ApiSettings())
    validate(keyed)
    assert keyed["security"] == [{"key": []}]


async def test_every_route_of_the_contract_is_in_the_openapi_document(serve: Any) -> None:
    client = await serve()
    documented = {
        (method.upper(), path)
        for path, item in (await (await client.get("/openapi.json")).json())["paths"].items()
        for method in item
        if method in ("get", "post")
    }
    routes = {(route.method, route.resource.canonical) for route in client.server.app.router.routes()}
    contract = {(method, path) for method, path in routes if path.startswith("/v1/") or path == "/send-sms"}
    # What vendors call is in their documents, and not for the api's clients.
    contract = {(method, path) for method, path in contract if not path.startswith(("/v1/receipts/", "/v1/inbound/"))}
    assert {(method, path) for method, path in contract if method in ("GET", "POST")} == documented
