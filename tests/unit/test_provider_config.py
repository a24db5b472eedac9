"""SMS_PROVIDERS_FILE: what is taken, and one line that names the key for what is not."""

import re
from pathlib import Path

import pytest

from services.sender.providers import TYPES, gateways_of
from services.sender.providers.accounts import Account
from services.sender.providers.config import read_accounts
from services.sender.providers.gateway import HttpGateway
from services.sender.settings import SenderSettings
from shared.errors import SettingsError
from shared.providers import read_providers
from shared.settings import load

SECRET = "s3cr3t-of-nobody"
TWILIO = f"""
[providers.default]
type = "twilio"
account_sid = "AC{"0" * 32}"
auth_token = "env:TOKEN_OF_TEST"
from = "+15005550006"
"""
VONAGE = """
[providers.default]
type = "vonage"
api_key = "abcd1234"
api_secret = "env:TOKEN_OF_TEST"
from = "Acme"
"""
INFOBIP = """
[providers.default]
type = "infobip"
api_key = "env:TOKEN_OF_TEST"
from = "Acme"
endpoint = "https://x1.api.infobip.example"
"""


HTTP = """
[providers.default.codes]
number = ["7"]

[providers.default]
type = "http"
endpoint = "https://gateway.example/send"
headers = { Authorization = "Key $secret.key" }
fields = { to = ["$to"], text = "$text" }
secrets = { key = "env:TOKEN_OF_TEST" }
answer = { id = "id" }
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", SECRET)
    monkeypatch.delenv("NOT_THERE", raising=False)


def file_with(tmp_path: Path, content: str) -> Path:
    file = tmp_path / "providers.toml"
    file.write_text(content)
    return file


def read_account(file: Path) -> Account:
    """The one account in the file."""
    (account,) = read_accounts(file).values()
    return account


def gateway_of(settings: SenderSettings) -> HttpGateway:
    """The one gateway of the file."""
    (gateway,) = gateways_of(settings).values()
    return gateway


@pytest.mark.parametrize(
    ("content", "type_", "most"),
    [(TWILIO, "twilio", 1), (VONAGE, "vonage", 1), (INFOBIP, "infobip", 50), (HTTP, "http", 1)],
)
def test_an_account_makes_a_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, type_: str, most: int
) -> None:
    monkeypatch.setenv("SMS_PROVIDERS_FILE", str(file_with(tmp_path, content)))
    monkeypatch.setenv("SMS_PROVIDER_MAX_RECIPIENTS", "50")
    settings = SenderSettings()
    assert settings.providers_file is not None
    account = read_account(settings.providers_file)
    assert account.type == type_
    assert SECRET not in repr(account)
    gateway = gateway_of(settings)
    assert (gateway.name, gateway.max_recipients) == ("default", most)


def test_every_type_that_can_be_named_has_a_maker() -> None:
    assert set(TYPES) == {"twilio", "vonage", "infobip", "aliyun", "tencent", "http"}


def test_a_secret_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{SECRET}\n")
    content = VONAGE.replace("env:TOKEN_OF_TEST", f"file:{tmp_path}/token")
    account = read_account(file_with(tmp_path, content))
    assert account.type == "vonage"
    assert account.api_secret.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("providers = 3", "has [providers.NAME] tables"),
        ("[providers.default", "is not TOML"),
        ("", "has [providers.NAME] tables"),
        (TWILIO.replace("providers.default", "providers.Main"), "providers.Main: a name has up to 32 of a-z"),
        (TWILIO.replace("providers.default", "providers.5s"), "providers.5s: a name has up to 32 of a-z"),
        ("providers.default = 3", "providers.default: a table"),
        (TWILIO + "\n[providers.other]\ntype = 'vonage'", "providers.other.api_key: Field required"),
        (
            TWILIO + "\n[providers.default]\ntype = 'vonage'",
            "is not TOML: Cannot declare ('providers', 'default') twice",
        ),
        (TWILIO + "\nweight = 0", "providers.default.weight: Input should be greater than or equal to 1"),
        (
            TWILIO + "\nrate_per = 'texts'",
            "providers.default.rate_per: Input should be 'calls', 'messages' or 'segments'",
        ),
        (TWILIO + "\ndaily_zone = 'Asia/Nowhere'", "providers.default.daily_zone: there is no such time zone"),
        (TWILIO + "\nlanes = 'bulk'", 'providers.default.lanes: give a list: ["bulk", "priority"]'),
        (TWILIO + "\nlanes = ['fast']", "providers.default.lanes.0: Input should be 'priority' or 'bulk'"),
        (TWILIO + "\nprefixes = ['86']", 'providers.default.prefixes.0: a prefix is like "+86"'),
        (TWILIO + "\ntemplates = { x = { code = 'T' } }", "providers.default.templates.x"),
        (
            "[providers.default]\ntype = 'plain'\nurl = 'https://u:p@x.example'",
            "providers.default.url: a URL with a password",
        ),
        (
            "[providers.default]\ntype = 'plain'\nurl = 'http://x.example'",
            "providers.default.url: https, or say allow_http",
        ),
        (TWILIO + "\ncolour = 'red'", "providers.default.colour: Extra inputs"),
        (TWILIO.replace('"twilio"', '"twillio"'), "providers.default: Input tag 'twillio'"),
        (TWILIO.replace("AC0", "XX0"), "providers.default.account_sid:"),
        (TWILIO.replace("env:TOKEN_OF_TEST", SECRET), "providers.default.auth_token: write where the secret is"),
        (TWILIO.replace("TOKEN_OF_TEST", "NOT_THERE"), "auth_token: the environment has no NOT_THERE"),
        (TWILIO.replace("env:TOKEN_OF_TEST", "file:/not/there"), "auth_token: cannot read /not/there"),
        (TWILIO.replace('from = "+15005550006"', ""), "providers.default: give from, or messaging_service_sid"),
        (TWILIO + 'endpoint = "http://127.0.0.1"', "providers.default.endpoint: https, or say allow_http = true"),
        (TWILIO + 'endpoint = "ftp://127.0.0.1"', "providers.default.endpoint: not a URL"),
        (INFOBIP.replace("endpoint", "#"), "providers.default.endpoint: Field required"),
        (HTTP.replace("answer =", "#"), "providers.default.answer: Field required"),
        (HTTP.replace('id = "id"', ""), "providers.default.answer: say what accepts"),
        (HTTP.replace('id = "id"', 'accepted = ["0"]'), "providers.default.answer: accepted needs code"),
        (HTTP.replace("$to", "$too"), "providers.default: there is no $too"),
        (HTTP.replace("$secret.key", "$secret.other"), "providers.default: there is no $secret.other"),
        (HTTP.replace("$to", "50$"), "providers.default: there is no $; write"),
        (HTTP.replace('number = ["7"]', 'number = ["7"]\ncontent = ["7"]'), "the code 7 is listed twice"),
        (HTTP.replace("number =", "nobody ="), "providers.default.codes.nobody"),
        (HTTP + 'body = "form"', "only a JSON body has more"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key_and_shows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, said: str
) -> None:
    monkeypatch.setenv("SMS_PROVIDERS_FILE", str(file_with(tmp_path, content)))
    with pytest.raises(SettingsError) as raised:
        gateways_of(SenderSettings())
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize("content", [TWILIO, VONAGE, INFOBIP])
def test_no_vendor_is_said_to_deduplicate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("SMS_PROVIDERS_FILE", str(file_with(tmp_path, content)))
    monkeypatch.setenv("SMS_PROVIDER_DEDUPLICATES", "true")
    settings = SenderSettings()
    with pytest.raises(SettingsError, match="SMS_PROVIDER_DEDUPLICATES: "):
        gateway_of(settings)


@pytest.mark.parametrize("url", ["", "nonsense", "http://simulator:8090/messages"])
def test_a_url_beside_a_file_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("SMS_PROVIDERS_FILE", str(file_with(tmp_path, TWILIO)))
    monkeypatch.setenv("SMS_PROVIDER_URL", url)
    assert SenderSettings().provider_url is None


def test_a_secret_that_could_end_a_header_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN_OF_TEST", f"{SECRET}\r\nX: y")
    with pytest.raises(SettingsError, match=r"providers\.default\.api_key: a secret has printable ASCII"):
        read_account(file_with(tmp_path, INFOBIP))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"SMS_PROVIDERS_FILE: cannot read .*/none\.toml: No such file"):
        read_account(tmp_path / "none.toml")


EXAMPLES = re.findall(r"```toml\n(.*?)```", (Path(__file__).parents[2] / "docs/providers.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=["twilio", "vonage", "infobip", "aliyun", "tencent", "http"])
def test_the_examples_of_the_documentation_are_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: str
) -> None:
    example = re.sub(r'"(env|file):[^"]+"', '"env:TOKEN_OF_TEST"', example).replace("AC…", f"AC{'0' * 32}")
    monkeypatch.setenv("SMS_PROVIDERS_FILE", str(file_with(tmp_path, example)))
    assert gateway_of(SenderSettings()).name == "default"


SEVERAL = TWILIO.replace("default", "main") + VONAGE.replace("default", "other").replace("TOKEN_OF_TEST", "NOT_THERE")


def test_a_sender_that_serves_some_needs_no_secrets_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMS_PROVIDERS_FILE", str(file_with(tmp_path, SEVERAL)))
    with pytest.raises(SettingsError, match=r"providers\.other\.api_secret: the environment has no NOT_THERE"):
        gateways_of(SenderSettings())
    monkeypatch.setenv("SMS_PROVIDERS", "main")
    assert list(gateways_of(SenderSettings())) == ["main"]


def test_a_provider_that_is_to_be_served_and_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMS_PROVIDERS_FILE", str(file_with(tmp_path, SEVERAL)))
    monkeypatch.setenv("SMS_PROVIDERS", "main,third")
    with pytest.raises(SettingsError, match="SMS_PROVIDERS: there is no provider third in SMS_PROVIDERS_FILE"):
        load(SenderSettings)


def test_what_is_said_of_all_providers_holds_where_one_says_nothing_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = "\nrate = 5\nconcurrency = 3\nnumbers_per_call = 2\ntimeout_s = 40"
    monkeypatch.setenv(
        "SMS_PROVIDERS_FILE", str(file_with(tmp_path, TWILIO + SEVERAL.replace("other]", f"other]{own}")))
    )
    settings = SenderSettings(provider_timeout_s=7, provider_rate=100, prefetch=50)
    assert [settings.rate(name) for name in ("default", "main", "other")] == [100, 100, 5]
    assert [settings.deliveries_at_once(name, 2) for name in ("main", "other")] == [50, 6]
    assert [settings.call_timeout_s(name) for name in ("main", "other")] == [7, 40]
    assert settings.lease_ms == 1000 * (2 * 40 + 8)
    assert settings.call_within_ms("other") == settings.lease_ms - 1000 * (40 + 4)


def test_an_http_provider_with_templates_takes_only_these(tmp_path: Path) -> None:
    templates = "\n[providers.default.templates]\n7 = { code = 'T-7' }\n"
    assert read_providers(file_with(tmp_path, HTTP)).routes[0].templates is None
    assert read_providers(file_with(tmp_path, HTTP + templates)).routes[0].templates == frozenset({7})
