"""smsctl against a small server that speaks the HTTP contract, and misbehaves where a test wants it to."""

import asyncio
import io
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from rich.console import Console

from shared.domain.options import OPTIONS
from tools.ctl.__main__ import main
from tools.ctl.api import Api
from tools.ctl.batches.requests import BatchRequest
from tools.ctl.batches.sending import post_all
from tools.ctl.errors import MaybePosted
from tools.node.ports import free_ports

BATCH_ID = "b-1"
RUNNING = {"batch_id": BATCH_ID, "status": "running", "recipients": 2, "counts": {"queued": 1, "sent": 1}}
FINISHED = {"batch_id": BATCH_ID, "status": "finished", "recipients": 2, "counts": {"sent": 1, "failed": 1}}
FAILED_ROW = {
    "row": 1,
    "recipient": "+86138****8001",
    "state": "failed",
    "attempts": 2,
    "error_code": "number_unreachable",
}

Answer = Callable[[web.Request], web.StreamResponse]


def accepted(_request: web.Request) -> web.Response:
    body = {"success": True, "message": "…", "batch_id": BATCH_ID, "status": "accepted", "recipients": 2, "links": {}}
    return web.json_response(body, status=202, headers={"Location": f"/v1/batches/{BATCH_ID}"})


def problem(status: int, detail: str, *errors: dict[str, str], **headers: str) -> Answer:
    body = json.dumps({"status": status, "title": "T", "detail": detail, "errors": errors})

    def answer(_request: web.Request) -> web.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return web.Response(status=status, text=body, content_type="application/problem+json", headers=named)

    return answer


def hang_up(request: web.Request) -> web.Response:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


class StubApi:
    """Gives the answers to posts in order, the last one for good; keeps every post."""

    def __init__(self) -> None:
        self.answers: list[Answer] = [accepted]
        self.posts: list[tuple[str, str | None, Any]] = []
        self.streams: list[list[dict[str, Any]]] = [[RUNNING, FINISHED]]
        self.batch: dict[str, Any] = FINISHED
        self.commands: list[tuple[str, str]] = []

    def app(self) -> web.Application:
        app = web.Application(client_max_size=20_000_000)
        app.router.add_post("/v1/batches", self._post)
        app.router.add_get("/v1/batches/{id}", self._batch)
        app.router.add_get("/v1/batches/{id}/events", self._events)
        app.router.add_get("/v1/batches/{id}/messages", self._messages)
        app.router.add_post("/v1/batches/{id}/{command}", self._control)
        return app

    async def _post(self, request: web.Request) -> web.StreamResponse:
        self.posts.append(
            (request.headers["Idempotency-Key"], request.headers.get("Authorization"), await request.json())
        )
        return (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(request)

    async def _batch(self, request: web.Request) -> web.StreamResponse:
        if request.match_info["id"] != BATCH_ID:
            return problem(404, "There is no batch with this id.")(request)
        return web.json_response(self.batch)

    async def _control(self, request: web.Request) -> web.StreamResponse:
        self.commands.append((request.match_info["id"], request.match_info["command"]))
        if self.batch["status"] == "finished":
            return problem(409, "The batch is finished: it cannot be paused any more.")(request)
        return web.json_response(self.batch)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        if not self.streams:
            return problem(503, "no stream")(request)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event in self.streams.pop(0):
            await response.write(f": ping\r\n\r\nid: 1\r\ndata: {json.dumps(event)}\r\n\r\n".encode())
        return response

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        rows = [FAILED_ROW] if request.query["state"] == "failed" else []
        return web.json_response({"messages": rows, "next_cursor": None})


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[StubApi, str]]:
    stub = StubApi()
    async with TestServer(stub.app()) as server:
        url = str(server.make_url("/")).rstrip("/")
        monkeypatch.setenv("SMS_API_URL", url)
        monkeypatch.delenv("SMS_API_KEY", raising=False)
        yield stub, url


@pytest.fixture
def stub(server: tuple[StubApi, str]) -> StubApi:
    return server[0]


@pytest.fixture
def api(server: tuple[StubApi, str]) -> Api:
    """A client that does not wait before it tries again."""
    return Api(server[1], None, retry_pauses_s=(0, 0, 0))


@pytest.fixture
def numbers(tmp_path: Path) -> str:
    file = tmp_path / "numbers.csv"
    file.write_text("to\n13800138000\n\n13800138001\n")
    return str(file)


async def smsctl(*arguments: str) -> int:
    """Run a command beside the server; its exit status."""

    def run() -> int:
        try:
            main(arguments)
        except SystemExit as ended:
            return int(ended.code or 0)
        return 0

    return await asyncio.to_thread(run)


async def post(api: Api, *bodies: str, key: str | None = "key") -> list[str]:
    batches = [BatchRequest(body.encode(), [1]) for body in bodies]
    return await asyncio.to_thread(post_all, api.post_batch, batches, key, Console())


async def test_a_file_is_posted_and_followed_to_its_end(
    stub: StubApi, numbers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await smsctl("send", numbers, "--content", "hello", "--lane", "priority", "--reference", "r") == 0
    [(key, authorization, body)] = stub.posts
    assert key
    assert authorization is None
    assert body == {
        "recipients": ["13800138000", "13800138001"],
        "content": "hello",
        "lane": "priority",
        "reference": "r",
    }
    said = capsys.readouterr()
    assert said.err == ""
    assert f"batch {BATCH_ID}: accepted, 2 recipients" in said.out
    assert "1/2 running  queued 1, sent 1" in said.out
    assert "2/2 finished  sent 1, failed 1" in said.out
    assert re.search(r"total\W+2\b", said.out)


async def test_every_option_has_its_name_in_the_contract(stub: StubApi, numbers: str) -> None:
    labels = ("--reference", "r", "--tag", "spring", "--tag", "双十一")
    times = ("--send-at", "2100-01-01T00:00+00:00", "--expires-at", "2100-01-02T00:00+08:00")
    others = ("--template", "7", "--lane", "priority", "--on-unknown", "resend")
    assert await smsctl("send", numbers, *labels, *times, *others) == 0
    body = stub.posts[0][2]
    assert body.pop("recipients") == ["13800138000", "13800138001"]
    assert body == {
        "template_id": 7,
        "lane": "priority",
        "reference": "r",
        "tags": ["spring", "双十一"],
        "send_at": "2100-01-01T00:00:00+00:00",
        "expires_at": "2100-01-02T00:00:00+08:00",
        "on_unknown": "resend",
    }
    assert set(OPTIONS) - set(body) == {"provider"}


@pytest.mark.parametrize(
    ("counts", "status"),
    [({"invalid": 1, "duplicate": 1}, 1), ({"invalid": 2}, 1), ({"invalid": 1, "failed": 1}, 0), ({"cancelled": 2}, 0)],
)
async def test_a_file_without_a_single_valid_recipient_is_an_error(
    stub: StubApi, numbers: str, capsys: pytest.CaptureFixture[str], counts: dict[str, int], status: int
) -> None:
    stub.streams = [[{**FINISHED, "counts": counts}]]
    assert await smsctl("send", numbers, "--content", "hello") == status
    assert ("nothing was sent: no recipient was valid" in capsys.readouterr().err) == (status == 1)


async def test_recipients_come_from_standard_input(stub: StubApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("手机号,name\n13800138000,王五\n".encode("gb18030"))))
    assert await smsctl("send", "-", "--content", "您好 $name", "--no-follow") == 0
    assert stub.posts[0][2]["recipients"] == [{"to": "13800138000", "variables": {"name": "王五"}}]


async def test_a_local_time_is_posted_with_its_offset_and_the_batch_is_not_followed(
    stub: StubApi, numbers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        await smsctl("send", numbers, "--content", "x", "--send-at", "2100-01-31T08:00", "--zone", "Asia/Shanghai") == 0
    )
    assert stub.posts[0][2]["send_at"] == "2100-01-31T08:00:00+08:00"
    assert f"smsctl status {BATCH_ID} --follow" in capsys.readouterr().err


async def test_the_api_key_goes_with_every_request(
    stub: StubApi, numbers: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMS_API_KEY", "made-up")
    assert await smsctl("send", numbers, "--content", "x", "--no-follow") == 0
    assert stub.posts[0][1] == "Bearer made-up"


async def test_two_runs_have_two_keys_and_a_given_key_is_used(stub: StubApi, numbers: str) -> None:
    for options in ((), (), ("--idempotency-key", "mine")):
        assert await smsctl("send", numbers, "--content", "x", "--no-follow", *options) == 0
    first, second, given = (key for key, _, _ in stub.posts)
    assert len({first, second}) == 2
    assert given == "mine"


@pytest.mark.parametrize(
    "failure",
    [problem(503, "busy", Retry_After="0"), problem(429, "slow"), problem(409, "under way", Retry_After="0"), hang_up],
)
async def test_what_may_pass_is_tried_again_under_the_same_key(
    stub: StubApi, api: Api, failure: Answer, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.answers = [failure, failure, accepted]
    assert await post(api, "{}", key=None) == [BATCH_ID]
    assert len(stub.posts) == 3
    assert len({key for key, _, _ in stub.posts}) == 1
    assert capsys.readouterr().err.count("trying again") == 2


async def test_a_pause_that_the_api_asks_for_is_kept(stub: StubApi, api: Api) -> None:
    stub.answers = [problem(503, "busy", Retry_After="1"), accepted]
    begun_s = time.monotonic()
    await post(api, "{}")
    assert time.monotonic() - begun_s >= 1


async def test_an_api_that_stays_busy_is_given_up_with_the_key_for_another_try(stub: StubApi, api: Api) -> None:
    stub.answers = [problem(503, "busy")]
    with pytest.raises(MaybePosted, match="503: busy") as caught:
        await post(api, "{}")
    assert caught.value.key == "key"
    assert len(stub.posts) == 4


async def test_every_batch_of_a_file_has_a_key_of_its_own(stub: StubApi, api: Api) -> None:
    stub.answers = [accepted, problem(422, "wrong", {"pointer": "/recipients/0", "detail": "too long"})]
    with pytest.raises(MaybePosted) as caught:
        await post(api, "{}", "{}", "{}")
    assert [key for key, _, _ in stub.posts] == ["key-1", "key-2"]
    assert f"accepted before that: {BATCH_ID}" in str(caught.value)


async def test_a_refused_batch_says_where_and_why_and_is_not_posted_again(
    stub: StubApi, numbers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flaws = ({"pointer": "/recipients/1", "detail": "too long"}, {"pointer": "/content", "detail": "too short"})
    stub.answers = [problem(422, "it is wrong", *flaws)]
    assert await smsctl("send", numbers, "--content", "x") == 1
    assert capsys.readouterr().err.splitlines() == [
        "smsctl: the API answered 422: it is wrong",
        "  line 4 of the file (/recipients/1): too long",
        "  /content: too short",
    ]
    assert len(stub.posts) == 1


async def test_a_refused_key_is_explained(stub: StubApi, numbers: str, capsys: pytest.CaptureFixture[str]) -> None:
    stub.answers = [problem(401, "Send an API key")]
    assert await smsctl("send", numbers, "--content", "x") == 1
    assert "(set SMS_API_KEY)" in capsys.readouterr().err


async def test_another_server_behind_the_url_is_found_out(
    stub: StubApi, numbers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.answers = [lambda _request: web.Response(text="<html>")]
    assert await smsctl("send", numbers, "--content", "x") == 1
    assert "check SMS_API_URL" in capsys.readouterr().err


async def test_an_api_that_is_not_running_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    monkeypatch.setenv("SMS_API_URL", url)
    assert await smsctl("status", BATCH_ID) == 1
    assert capsys.readouterr().err == f"smsctl: cannot reach the API at {url}: is it running? (make run)\n"


async def test_a_stream_that_ends_early_is_opened_again(stub: StubApi, numbers: str) -> None:
    stub.streams, stub.batch = [[RUNNING], [RUNNING, FINISHED]], RUNNING
    assert await smsctl("send", numbers, "--content", "x") == 0
    assert stub.streams == []


async def test_a_batch_that_failed_as_a_whole_is_not_a_success(
    stub: StubApi, numbers: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.streams = [[{**FINISHED, "counts": {"failed": 2}, "error_reason": "There is no template 9"}]]
    assert await smsctl("send", numbers, "--template", "9") == 1
    assert "There is no template 9" in capsys.readouterr().err


async def test_the_status_shows_counts_and_first_failures(stub: StubApi, capsys: pytest.CaptureFixture[str]) -> None:
    assert await smsctl("status", BATCH_ID) == 0
    said = capsys.readouterr().out
    assert f"batch {BATCH_ID}: finished" in said
    assert re.search(r"failed\W+1\b", said)
    assert re.search(r"\+86138\*{4}8001\W+failed\W+2\W+number_unreachable", said)


@pytest.mark.parametrize("options", [(), ("--follow",)])
async def test_the_status_of_an_unknown_batch_is_one_line(
    stub: StubApi, options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert await smsctl("status", "another", *options) == 1
    assert capsys.readouterr().err == "smsctl: the API answered 404: There is no batch with this id.\n"


@pytest.mark.parametrize(("command", "status"), [("pause", "paused"), ("resume", "running"), ("cancel", "cancelled")])
async def test_a_command_goes_to_the_api_and_the_batch_after_it_is_shown(
    stub: StubApi, command: str, status: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stub.batch = {**RUNNING, "status": status, "counts": {"sending": 1, "cancelled": 1}}
    assert await smsctl(command, BATCH_ID) == 0
    assert stub.commands == [(BATCH_ID, command)]
    said = capsys.readouterr()
    assert f"batch {BATCH_ID}: {status}" in said.out
    assert re.search(r"total\W+2\b", said.out)
    assert ("not final yet: 1;" in said.err) == (command == "cancel")


async def test_a_command_that_the_batch_does_not_allow_any_more_is_one_line(
    stub: StubApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await smsctl("pause", BATCH_ID) == 1
    assert capsys.readouterr().err == (
        "smsctl: the API answered 409: The batch is finished: it cannot be paused any more.\n"
    )


async def test_a_sample_whose_counts_do_not_add_up_is_an_error(
    stub: StubApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert await smsctl("sample", "--recipients", "20") == 1
    assert len(stub.posts[0][2]["recipients"]) == 20
    said = capsys.readouterr()
    assert "refused for good" in said.out
    assert said.err == "smsctl: the counts add up to 2, and 20 recipients were given\n"
