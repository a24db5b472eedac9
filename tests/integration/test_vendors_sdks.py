"""The simulator is what each vendor's own SDK takes it for; and so is our gateway, which it answers alike."""

import asyncio
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import requests
import vonage
from alibabacloud_dysmsapi20170525 import models as aliyun_models
from alibabacloud_dysmsapi20170525.client import Client as AliyunClient
from alibabacloud_tea_openapi.exceptions import AlibabaCloudException
from alibabacloud_tea_openapi.utils_models import Config as AliyunConfig
from infobip_api_client import ApiClient, Configuration, SmsApi
from infobip_api_client import models as infobip_models
from infobip_api_client.exceptions import ApiException
from requests.adapters import HTTPAdapter
from tencentcloud.common.credential import Credential
from tencentcloud.common.exception.tencent_cloud_sdk_exception import TencentCloudSDKException
from tencentcloud.common.profile.client_profile import ClientProfile
from tencentcloud.common.profile.http_profile import HttpProfile
from tencentcloud.sms.v20210111 import models as tencent_models
from tencentcloud.sms.v20210111.sms_client import SmsClient
from twilio.base.exceptions import TwilioRestException
from twilio.rest import Client
from vonage_http_client import HttpClientOptions
from vonage_sms import SmsMessage
from vonage_sms.errors import SmsError

from services.sender.providers.gateway import Format, HttpGateway, Results, TextMessage
from services.sender.providers.vendors.aliyun import AliyunFormat
from services.sender.providers.vendors.infobip import InfobipFormat
from services.sender.providers.vendors.tencent import TencentFormat
from services.sender.providers.vendors.twilio import TwilioFormat
from services.sender.providers.vendors.vonage import VonageFormat
from services.sender.transports.with_aiohttp import AiohttpTransport
from shared.domain.outcome import CallResult, Verdict
from shared.providers import TemplateMapping
from shared.signatures import VonageSigning
from tests.support.processes import ServiceProcess
from tools.simulator.vendors import TOKEN

ACCOUNT = f"AC{'0' * 32}"
FROM = "+15005550006"
TEXT = "Grüße & 您好"
KEY_ID, SECRET_ID, SIGN_NAME, APP_ID = "LTAI0of1nobody", "AKID0of1nobody", "某公司", "1400000001"
VALUES = {"name": "Li *~+/& 李", "code": "4711"}
ONE, TWO = "+8613800138000", "+8613800138001"


class Heard(NamedTuple):
    """What an SDK makes of an answer: whether it took the call for accepted, and the code that says why not."""

    is_accepted: bool
    code: str | None = None


def message(to: str = ONE, text: str = TEXT, **values: str) -> TextMessage:
    return TextMessage("b:0", to, text, template_id=1, variables={**VALUES, **values})


def by_twilio(url: str, token: str, messages: list[TextMessage]) -> Heard:
    client = Client(ACCOUNT, token)
    client.api.base_url = url
    (one,) = messages
    try:
        client.messages.create(to=one.to, from_=FROM, body=one.text)
    except TwilioRestException as error:
        return Heard(is_accepted=False, code=str(error.code))
    return Heard(is_accepted=True)


class _WithoutTls(HTTPAdapter):
    """The SDK knows https only."""

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, *args, **kwargs)


def by_vonage(url: str, token: str, messages: list[TextMessage]) -> Heard:
    options = HttpClientOptions(rest_host=url.removeprefix("http://"))
    client = vonage.Vonage(vonage.Auth(api_key="abcd1234", api_secret=token), options)
    client.http_client._session.mount("https://", _WithoutTls())
    (one,) = messages
    try:
        client.sms.send(
            SmsMessage(
                to=one.to.removeprefix("+"), from_="Acme", text=one.text, type="unicode", client_ref=one.reference
            )
        )
    except SmsError as error:
        return Heard(is_accepted=False, code=str(error))
    return Heard(is_accepted=True)


def by_infobip(url: str, token: str, messages: list[TextMessage]) -> Heard:
    asked = [
        infobip_models.SmsMessage(
            sender="Acme",
            destinations=[
                infobip_models.SmsDestination(to=one.to.removeprefix("+"), message_id=f"{one.reference}:{one.attempt}")
            ],
            content=infobip_models.SmsMessageContent(infobip_models.SmsTextContent(text=one.text)),
        )
        for one in messages
    ]
    api = SmsApi(ApiClient(Configuration(host=url, api_key=token)))
    try:
        answered = api.send_sms_messages(infobip_models.SmsRequest(messages=asked))
    except ApiException as error:
        return Heard(is_accepted=False, code=json.loads(error.body)["errorCode"])
    refused = [each.status.id for each in answered.messages if each.status.group_id not in (1, 3)]
    return Heard(not refused, str(refused[0]) if refused else None)


def by_aliyun(url: str, token: str, messages: list[TextMessage]) -> Heard:
    config = AliyunConfig(
        access_key_id=KEY_ID, access_key_secret=token, endpoint=url.removeprefix("http://"), protocol="http"
    )
    client = AliyunClient(config)
    numbers = [each.to.removeprefix("+86") for each in messages]
    values = [{"name": each.variables["name"], "code": each.variables["code"]} for each in messages]
    try:
        if all(each == values[0] for each in values):
            body = client.send_sms(
                aliyun_models.SendSmsRequest(
                    phone_numbers=",".join(numbers),
                    sign_name=SIGN_NAME,
                    template_code="SMS_1",
                    template_param=json.dumps(values[0]),
                    out_id=messages[0].reference,
                )
            ).body
        else:
            body = client.send_batch_sms(
                aliyun_models.SendBatchSmsRequest(
                    phone_number_json=json.dumps(numbers),
                    sign_name_json=json.dumps([SIGN_NAME] * len(numbers)),
                    template_code="SMS_1",
                    template_param_json=json.dumps(values),
                    out_id=messages[0].reference,
                )
            ).body
    except AlibabaCloudException as error:
        return Heard(is_accepted=False, code=error.code)
    return Heard(body.code == "OK" and bool(body.biz_id), None if body.code == "OK" else body.code)


def by_tencent(url: str, token: str, messages: list[TextMessage]) -> Heard:
    profile = ClientProfile(httpProfile=HttpProfile(protocol="http", endpoint=url.removeprefix("http://")))
    client = SmsClient(Credential(SECRET_ID, token), "ap-guangzhou", profile)
    asked = tencent_models.SendSmsRequest()
    asked.PhoneNumberSet = [each.to for each in messages]
    asked.SmsSdkAppId, asked.SignName, asked.TemplateId = APP_ID, SIGN_NAME, "1000001"
    asked.TemplateParamSet = [messages[0].variables["code"], messages[0].variables["name"]]
    asked.SessionContext = messages[0].reference
    try:
        statuses = client.SendSms(asked).SendStatusSet
    except TencentCloudSDKException as error:
        return Heard(is_accepted=False, code=error.code)
    refused = [each.Code for each in statuses if each.Code != "Ok"]
    return Heard(not refused and all(each.SerialNo for each in statuses), refused[0] if refused else None)


SDKS: dict[str, Callable[[str, str, list[TextMessage]], Heard]] = {
    "twilio": by_twilio,
    "vonage": by_vonage,
    "infobip": by_infobip,
    "aliyun": by_aliyun,
    "tencent": by_tencent,
}


def format_of(vendor: str, url: str, token: str = TOKEN) -> Format:
    named = {1: TemplateMapping(code="SMS_1", params={"name": "name", "code": "code"})}
    ordered = {1: TemplateMapping(code="1000001", params=["code", "name"])}
    formats: dict[str, Callable[[], Format]] = {
        "twilio": lambda: TwilioFormat(ACCOUNT, ACCOUNT, token, FROM, url),
        "vonage": lambda: VonageFormat("abcd1234", token, "Acme", url),
        "infobip": lambda: InfobipFormat(token, "Acme", url),
        "aliyun": lambda: AliyunFormat((KEY_ID, token), SIGN_NAME, named, url),
        "tencent": lambda: TencentFormat((SECRET_ID, token), (APP_ID, SIGN_NAME), ordered, endpoint=url),
    }
    return formats[vendor]()


async def by_us(format_: Format, messages: list[TextMessage]) -> Results:
    gateway = HttpGateway("p", format_, AiohttpTransport(10))
    await gateway.open()
    try:
        return await gateway.send(messages)
    finally:
        await gateway.close()


async def result_of_us(format_: Format, one: TextMessage) -> CallResult:
    found = await by_us(format_, [one])
    return found if isinstance(found, CallResult) else found[0]


async def recorded(simulator: ServiceProcess) -> list[tuple[str, str, str]]:
    calls = (await asyncio.to_thread(requests.get, f"{simulator.url}/calls", timeout=30)).json()["calls"]
    return [(call["reference"], call["to"], call["text"]) for call in calls]


SEVERAL = [
    ("infobip", [message(ONE, "one"), message(TWO, "two")._replace(reference="b:1")]),
    ("aliyun", [message(ONE), message(TWO)]),
    ("aliyun", [message(ONE), message(TWO, name="Wang")]),
    ("tencent", [message(ONE), message(TWO)]),
]


@pytest.mark.parametrize(("vendor", "messages"), [*((vendor, [message()]) for vendor in SDKS), *SEVERAL])
async def test_an_sdk_and_our_gateway_send_the_same(
    simulator: ServiceProcess, vendor: str, messages: list[TextMessage]
) -> None:
    theirs = await asyncio.to_thread(SDKS[vendor], simulator.url, TOKEN, messages)
    ours = await by_us(format_of(vendor, simulator.url), messages)
    assert theirs == Heard(is_accepted=True)
    verdicts = [ours.verdict] if isinstance(ours, CallResult) else [each.verdict for each in ours]
    assert set(verdicts) == {Verdict.ACCEPTED}
    calls = await recorded(simulator)
    assert [to for _reference, to, _text in calls] == [each.to for each in messages] * 2
    assert calls[: len(messages)] == calls[len(messages) :]


@pytest.mark.parametrize(
    ("vendor", "one", "token", "verdict"),
    [
        ("twilio", message("+86138"), TOKEN, Verdict.REFUSED),
        ("twilio", message("+8613800139005"), TOKEN, Verdict.REFUSED),
        ("twilio", message("+8613800139010"), TOKEN, Verdict.NOT_SENT),
        ("twilio", message("+8613800139004"), TOKEN, Verdict.NOT_SENT),
        ("twilio", message("+8613800139006"), TOKEN, Verdict.UNCLEAR),
        ("twilio", message(text="x" * 1601), TOKEN, Verdict.REFUSED),
        ("twilio", message(), "revoked", Verdict.ACCOUNT),
        ("infobip", message("+8613800139005"), TOKEN, Verdict.REFUSED),
        ("infobip", message("+8613800139010"), TOKEN, Verdict.NOT_SENT),
        ("infobip", message("+8613800139006"), TOKEN, Verdict.UNCLEAR),
        ("infobip", message(), "revoked", Verdict.ACCOUNT),
        ("aliyun", message("+8613800139005"), TOKEN, Verdict.REFUSED),
        ("aliyun", message("+8613800139010"), TOKEN, Verdict.NOT_SENT),
        ("aliyun", message("+8613800139006"), TOKEN, Verdict.UNCLEAR),
        ("aliyun", message(), "revoked", Verdict.ACCOUNT),
        ("tencent", message("+86138"), TOKEN, Verdict.REFUSED),
        ("tencent", message("+8613800139005"), TOKEN, Verdict.REFUSED),
        ("tencent", message("+8613800139010"), TOKEN, Verdict.NOT_SENT),
        ("tencent", message("+8613800139006"), TOKEN, Verdict.UNCLEAR),
        ("tencent", message(), "revoked", Verdict.ACCOUNT),
    ],
)
async def test_an_sdk_and_our_gateway_read_the_same_refusal(
    simulator: ServiceProcess, vendor: str, one: TextMessage, token: str, verdict: Verdict
) -> None:
    theirs = await asyncio.to_thread(SDKS[vendor], simulator.url, token, [one])
    ours = await result_of_us(format_of(vendor, simulator.url, token), one)
    assert (theirs.is_accepted, ours.verdict) == (False, verdict)
    assert ours.code == theirs.code


@pytest.mark.parametrize(
    ("one", "token", "verdict"),
    [
        (message("+8613800139005"), TOKEN, Verdict.REFUSED),
        (message("+8613800139010"), TOKEN, Verdict.NOT_SENT),
        (message("+8613800139006"), TOKEN, Verdict.UNCLEAR),
        (message(), "revoked", Verdict.ACCOUNT),
    ],
)
async def test_vonages_sdk_and_our_gateway_read_the_same_refusal(
    simulator: ServiceProcess, one: TextMessage, token: str, verdict: Verdict
) -> None:
    """The SDK tells no status, but quotes it."""
    theirs = await asyncio.to_thread(by_vonage, simulator.url, token, [one])
    ours = await result_of_us(format_of("vonage", simulator.url, token), one)
    assert (theirs.is_accepted, ours.verdict) == (False, verdict)
    assert theirs.code is not None
    assert str(ours.code) in theirs.code


@pytest.mark.parametrize("method", ["md5-hash", "md5", "sha1", "sha256", "sha512"])
async def test_vonage_may_be_signed_and_its_sdk_signs_alike(simulator: ServiceProcess, method: Any) -> None:
    signed = VonageFormat("abcd1234", VonageSigning(TOKEN, method), "Acme", simulator.url)
    assert (await result_of_us(signed, message(text="a=b&c"))).verdict is Verdict.ACCEPTED
    revoked = VonageFormat("abcd1234", VonageSigning("revoked", method), "Acme", simulator.url)
    refusal = await result_of_us(revoked, message())
    assert (refusal.verdict, refusal.code) == (Verdict.ACCOUNT, "14")
    if method != "md5-hash":  # which this SDK has no more
        fields = {"to": "8613800138000", "text": "a=b&c", "timestamp": "1795766400"}
        auth = vonage.Auth(api_key="abcd1234", signature_secret=TOKEN, signature_method=method)
        assert VonageSigning(TOKEN, method).of(fields) == auth.sign_params(dict(fields))
