"""Accounts at the vendors that want signatures: what is entered, what is refused, and the format that it makes."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from services.sender.providers import TYPES
from services.sender.providers.config import read_accounts
from services.sender.providers.gateway import TextMessage
from shared.errors import SettingsError
from shared.providers import TemplateMapping, read_providers

SECRET = "s3cr3t-of-nobody"
ALIYUN = """
[providers.cn]
type = "aliyun"
access_key_id = "env:ID_OF_TEST"
access_key_secret = "env:SECRET_OF_TEST"
sign_name = "某公司"
templates = { 1 = { code = "SMS_1", params = { name = "name" } } }
"""
TENCENT = """
[providers.cn]
type = "tencent"
secret_id = "AKIDxxxx"
secret_key = "env:SECRET_OF_TEST"
sdk_app_id = "1400000001"
sign_name = "某公司"
templates = { 1 = { code = "1000001", params = ["name"] } }
"""
VONAGE = """
[providers.cn]
type = "vonage"
api_key = "abcd1234"
signature_secret = "env:SECRET_OF_TEST"
signature_method = "md5-hash"
from = "Acme"
"""
MESSAGE = TextMessage("b:0", "+8613800138000", "Dear Li", template_id=1, variables={"name": "Li"})


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ID_OF_TEST", "LTAIxxxx")
    monkeypatch.setenv("SECRET_OF_TEST", SECRET)
    monkeypatch.delenv("NOT_THERE", raising=False)


def file_with(tmp_path: Path, content: str) -> Path:
    file = tmp_path / "providers.toml"
    file.write_text(content, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("content", "shown"), [(ALIYUN, "Credential=LTAIxxxx,"), (TENCENT, "Credential=AKIDxxxx/"), (VONAGE, None)]
)
def test_an_account_makes_a_format(tmp_path: Path, content: str, shown: str | None) -> None:
    file = file_with(tmp_path, content)
    account = read_accounts(file)["cn"]
    assert SECRET not in repr(account)
    make, _most = TYPES[account.type]
    request = make(account, read_providers(file).by_name["cn"].templates, None).request([MESSAGE], datetime.now(UTC))
    headers = dict(request.headers)
    assert SECRET not in repr(request)
    assert headers["Authorization"].count(shown) == 1 if shown else "Authorization" not in headers


@pytest.mark.parametrize("content", [ALIYUN, TENCENT])
def test_variables_of_the_other_kind_are_named(tmp_path: Path, content: str) -> None:
    file = file_with(tmp_path, content)
    account = read_accounts(file)["cn"]
    params: dict[str, str] | list[str] = ["name"] if content is ALIYUN else {"name": "1"}
    with pytest.raises(ValueError, match=r"^templates\.3\.params: "):
        TYPES[account.type][0](account, {3: TemplateMapping(code="1", params=params)}, None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ALIYUN.replace("ID_OF_TEST", "NOT_THERE"), "access_key_id: the environment has no NOT_THERE"),
        (ALIYUN.replace("env:SECRET_OF_TEST", SECRET), "access_key_secret: write where the secret is"),
        (ALIYUN.replace("某公司", "【某公司】"), "sign_name: write the signature without its brackets"),
        (ALIYUN.replace("某公司", " 某公司"), "sign_name: a signature has no blanks around it"),
        (ALIYUN.replace("某公司", "a\\nb"), "sign_name: a signature has no blanks around it"),
        (ALIYUN.replace("某公司", ""), "sign_name: String should have at least 1"),
        (TENCENT.replace("1400000001", "app"), "sdk_app_id: String should match"),
        (TENCENT + 'endpoint = "http://127.0.0.1"', "endpoint: https, or say allow_http = true"),
        (VONAGE.replace("signature_secret", "#"), "providers.cn: give api_secret, or signature_secret"),
        (VONAGE + 'api_secret = "env:SECRET_OF_TEST"', "providers.cn: give api_secret, or signature_secret"),
        (VONAGE.replace("md5-hash", "md4"), "signature_method: Input should be"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key_and_shows_no_secret(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read_accounts(file_with(tmp_path, content))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert SECRET not in str(raised.value)
