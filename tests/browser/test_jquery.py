"""What front ends do with jQuery, in a real browser, from an origin that is not the api's."""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.browser.chromium import Chromium, Page, running_chromium
from tests.browser.sites import served_site
from tests.support.brokers import Broker, own_vhost
from tests.support.processes import ServiceProcess
from tests.support.trio import TIERS_S, Trio

pytestmark = pytest.mark.browser

TEXT = "【快递】您好，李雷 & 韩梅梅：取件码 12+34=46，费用 100% 已付 😀"
ACCEPTED = "请求已接收，短信发送任务已启动"
KEY = "a-key-of-the-browser-tests"


@dataclass(frozen=True)
class Sites:
    """Three front ends; the api is told of the first two."""

    jquery_4: str
    jquery_3: str
    stranger: str


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with ExitStack() as stack:
        packages = {"jquery_4": "jquery", "jquery_3": "jquery-3", "stranger": "jquery"}
        yield Sites(
            **{
                name: stack.enter_context(served_site(tmp_path_factory.mktemp(name), package))
                for name, package in packages.items()
            }
        )


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with running_chromium(tmp_path_factory.mktemp("chromium"), "zh-CN,zh") as browser:
        yield browser


@pytest.fixture(scope="module")
def trio(sites: Sites, chromium: Chromium, broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trio]:
    folder = tmp_path_factory.mktemp("trio")
    with ExitStack() as stack:

        def start(module: str, *, wait: bool = True, **settings: str) -> ServiceProcess:
            process = ServiceProcess(module, settings, folder)
            stack.callback(process.end)
            return process.start(wait=wait)

        vhost = stack.enter_context(own_vhost(broker))
        simulator = start("tools.simulator")
        settings = {
            "SMS_AMQP_URL": vhost.amqp_url,
            "SMS_DATABASE_URL": f"sqlite:///{folder}/ledger.sqlite3",
            "SMS_PROVIDER_URL": f"{simulator.url}/messages",
            "SMS_RETRY_TIERS_S": TIERS_S,
            "SMS_CORS_ORIGINS": f"{sites.jquery_4},{sites.jquery_3}",
        }
        yield Trio(vhost, simulator, settings, start).up(senders=1)


@pytest.fixture(scope="module")
def guarded_api(trio: Trio) -> ServiceProcess:
    """A second api of the same system, which asks for a key."""
    return trio.start("services.api", **trio.settings, SMS_API_KEYS=KEY)


def sent_to_provider(trio: Trio, batch_id: str) -> list[tuple[str, str]]:
    trio.finished(batch_id)
    return sorted((call["to"], call["text"]) for call in trio.provider_texts(batch_id))


async def submit(page: Page, **fields: str) -> None:
    """Fill in the form and press its button."""
    for name, value in fields.items():
        await page.run(f"$('#{name}').val({json.dumps(value)}).length")
    await page.run("$('#message').text('').length")
    await page.run("$('button').trigger('click').length")
    await page.wait_for("$('#message').text()")


async def ajax(page: Page, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a script on the page learns of a request that it makes with $.ajax."""
    answer = await page.run(
        f"""new Promise((resolve) => $.ajax({json.dumps(options)}).always((first, outcome, last) => {{
            const xhr = outcome === 'success' ? last : first;
            const headers = Object.fromEntries(['Location', 'Content-Type'].map((n) => [n, xhr.getResponseHeader(n)]));
            resolve({{outcome, status: xhr.status, json: xhr.responseJSON, text: xhr.responseText, headers}});
        }}))"""
    )
    assert isinstance(answer, dict)
    return answer


@pytest.mark.parametrize("jquery", ["jquery_3", "jquery_4"])
async def test_the_example_page_sends_a_batch_and_follows_it_to_its_end(
    chromium: Chromium, trio: Trio, sites: Sites, jquery: str
) -> None:
    async with chromium.page(f"{getattr(sites, jquery)}/jquery.html") as page:
        assert (await page.run("$.fn.jquery")).startswith(jquery[-1])
        numbers = "+8613800138000\n13800138001"
        await submit(page, api=trio.api.url, mobiles=numbers, content=TEXT, template_id="404")
        assert await page.run("$('#message').text()") == ACCEPTED
        await page.wait_for("$('#batches li').text().includes('finished')")
        shown = await page.run("$('#batches li').text()")
    batch_id, *rest = shown.split(" · ")
    assert re.fullmatch(r"[0-9A-Za-z_-]{8,}", batch_id)
    assert "sent 2" in rest
    assert sent_to_provider(trio, batch_id) == [("+8613800138000", TEXT), ("+8613800138001", TEXT)]


async def test_arrays_without_brackets_are_read_too(chromium: Chromium, trio: Trio, sites: Sites) -> None:
    data = {"mobiles": ["+8613800138002", "13800138003"], "content": TEXT}
    async with chromium.page(f"{sites.jquery_4}/jquery.html") as page:
        assert await page.run(f"$.param({json.dumps(data)}, true).split('mobiles=').length") == 3
        options = {"type": "POST", "url": f"{trio.api.url}/send-sms", "data": data, "traditional": True}
        answer = await ajax(page, options)
    assert (answer["outcome"], answer["status"]) == ("success", 202)
    assert {"success": True, "message": ACCEPTED, "recipients": 2}.items() <= answer["json"].items()
    assert sent_to_provider(trio, answer["json"]["batch_id"]) == [("+8613800138002", TEXT), ("+8613800138003", TEXT)]


async def test_json_with_a_key_passes_the_preflight_and_its_location_can_be_read(
    chromium: Chromium, trio: Trio, guarded_api: ServiceProcess, sites: Sites
) -> None:
    options = {
        "type": "POST",
        "url": f"{guarded_api.url}/v1/batches",
        "contentType": "application/json",
        "data": json.dumps({"recipients": ["+8613800138004"], "content": TEXT}),
    }
    async with chromium.page(f"{sites.jquery_4}/jquery.html") as page:
        refused = await ajax(page, options)
        keys = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": "from a browser"}
        answer = await ajax(page, {**options, "headers": keys})
        again = await ajax(page, {**options, "headers": keys})
        followed = await ajax(page, {"url": f"{guarded_api.url}{answer['headers']['Location']}", "headers": keys})
    assert (refused["status"], refused["json"]["status"]) == (401, 401)
    assert (answer["outcome"], answer["status"]) == ("success", 202)
    assert answer["headers"]["Location"] == f"/v1/batches/{answer['json']['batch_id']}"
    assert again["json"]["batch_id"] == answer["json"]["batch_id"] == followed["json"]["batch_id"]
    assert sent_to_provider(trio, answer["json"]["batch_id"]) == [("+8613800138004", TEXT)]
    assert '"method":"OPTIONS"' in guarded_api.log


async def test_a_page_of_another_origin_reads_no_answer_and_its_json_never_arrives(
    chromium: Chromium, trio: Trio, sites: Sites
) -> None:
    async with chromium.page(f"{sites.stranger}/jquery.html") as page:
        form = {"type": "POST", "url": f"{trio.api.url}/send-sms", "data": {"mobiles": ["1"], "content": TEXT}}
        unreadable = await ajax(page, form)
        arrived = trio.api.log.count('"method":"POST"')
        body = json.dumps({"recipients": ["+8613800138005"], "content": TEXT})
        url = f"{trio.api.url}/v1/batches"
        stopped = await ajax(page, {"type": "POST", "url": url, "contentType": "application/json", "data": body})
        await submit(page, api=trio.api.url, mobiles="1")
        shown = await page.run("$('#message').text()")
    for answer in (unreadable, stopped):
        assert (answer["outcome"], answer["status"]) == ("error", 0)
        assert not answer.get("text")
        assert answer["headers"] == {"Location": None, "Content-Type": None}
    assert trio.api.log.count('"method":"POST"') == arrived + 1  # the page's form; the JSON ended at its preflight
    assert "SMS_CORS_ORIGINS" in shown


async def test_what_is_wrong_can_be_read_and_the_page_shows_it(chromium: Chromium, trio: Trio, sites: Sites) -> None:
    data = {"mobiles": ["+8613800138006"], "template_id": "seven"}
    async with chromium.page(f"{sites.jquery_4}/jquery.html") as page:
        answer = await ajax(page, {"type": "POST", "url": f"{trio.api.url}/send-sms", "data": data})
        await submit(page, api=trio.api.url, template_id="seven")
        shown = await page.run("$('#message').text()")
    assert (answer["outcome"], answer["status"]) == ("error", 422)
    assert answer["headers"]["Content-Type"].startswith("application/problem+json")
    assert answer["json"]["errors"][0]["pointer"] == "/template_id"
    assert shown.startswith("/template_id ")
