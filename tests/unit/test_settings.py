"""Settings: read once, refused in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.dispatcher.settings import DispatcherSettings
from services.sender.settings import SenderSettings
from shared.domain.outcome import RetryPolicy
from shared.errors import SettingsError
from shared.settings import Settings, load, load_or_exit

PASSWORD = "hunter2"
PROVIDER = "http://127.0.0.1:1/"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("SMS_")]:
        monkeypatch.delenv(name)


def loaded(monkeypatch: pytest.MonkeyPatch, **variables: str) -> SenderSettings:
    monkeypatch.setenv("SMS_PROVIDER_URL", PROVIDER)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return load(SenderSettings)


def sender_process(**variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SMS_")}
    root = str(Path(__file__).parents[2])
    return subprocess.run(
        [sys.executable, "-m", "services.sender"],
        env={**inherited, "PYTHONPATH": root, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_defaults_are_those_of_the_contract() -> None:
    settings = load(Settings)
    assert settings.amqp_url.get_secret_value() == "amqp://guest:guest@127.0.0.1:5672/"
    assert settings.database_url.get_secret_value().startswith("sqlite:///.run/")
    assert settings.redis_url is None
    assert settings.retry_tiers_s == (5, 30, 120, 600, 3600)


def test_a_sender_waits_ten_seconds_for_its_provider_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch).provider_timeout_s == 10


def test_a_dispatcher_reads_numbers_as_chinese_unless_told_otherwise() -> None:
    assert load(DispatcherSettings).default_region == "CN"


def test_settings_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, SMS_MAX_ATTEMPTS="3", SMS_PREFETCH="7", SMS_RETRY_TIERS_S="0.2, 1,2")
    assert (settings.prefetch, settings.retry_tiers_s) == (7, (0.2, 1, 2))
    assert settings.retry_policy == RetryPolicy(max_attempts=3, tiers_s=(0.2, 1, 2))


def test_a_cluster_has_a_url_for_each_node(monkeypatch: pytest.MonkeyPatch) -> None:
    urls = f"amqp://u:{PASSWORD}@one:5672/, amqps://u:{PASSWORD}@two/vhost"
    assert loaded(monkeypatch, SMS_AMQP_URL=urls).amqp_url.get_secret_value() == urls


def test_the_topology_has_the_tiers_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    topology = loaded(monkeypatch, SMS_RETRY_TIERS_S="0.2,7").topology
    tiers = [queue.name for queue in topology.queues if queue.name.startswith("sms.retry.")]
    assert tiers == ["sms.retry.200ms", "sms.retry.7s"]


def test_a_claims_lease_outlives_the_provider_call(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, SMS_PROVIDER_TIMEOUT_S="20").lease_ms > 20_000


def test_a_call_and_its_record_end_within_the_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, SMS_PROVIDER_TIMEOUT_S="20")
    assert (settings.lease_ms, settings.call_within_ms("default")) == (28_000, 4_000)


def test_a_call_with_several_numbers_leaves_time_for_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, SMS_PROVIDER_TIMEOUT_S="20", SMS_PROVIDER_MAX_RECIPIENTS="2")
    assert (settings.lease_ms, settings.call_within_ms("default")) == (48_000, 24_000)
    assert load(DispatcherSettings).lease_ms == settings.lease_ms


def test_a_rate_is_of_calls_so_that_more_deliveries_go_with_more_numbers_in_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = loaded(monkeypatch, SMS_PROVIDER_RATE="2", SMS_PROVIDER_MAX_RECIPIENTS="10")
    assert settings.deliveries_at_once("default", 10) == 200


def test_a_senders_deliveries_are_fewer_where_the_rate_is_low(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch).deliveries_at_once("default", 1) == 250
    assert loaded(monkeypatch, SMS_PROVIDER_RATE="").provider_rate is None
    assert loaded(monkeypatch, SMS_PROVIDER_RATE="2").deliveries_at_once("default", 1) == 20
    assert loaded(monkeypatch, SMS_PROVIDER_RATE="0.01").deliveries_at_once("default", 1) == 1


def test_a_sender_holds_deliveries_for_less_than_they_would_be_held_to_be_lost(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert loaded(monkeypatch).longest_hold_s == 450
    assert loaded(monkeypatch, SMS_RECOVER_AFTER_S="60").longest_hold_s == 30


def test_provider_codes_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, SMS_PROVIDER_TEMPORARY_CODES="BUSY, 1003,,", SMS_PROVIDER_PERMANENT_CODES="")
    assert settings.provider_temporary_codes == {"BUSY", "1003"}
    assert settings.provider_permanent_codes == frozenset()


def test_what_is_kept_in_redis_is_signed_with_the_key_or_else_the_passwords_that_redis_has_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    urls = {"SMS_AMQP_URL": "amqp://u:broker@h1/", "SMS_DATABASE_URL": "postgresql://u:ledger@h/d"}
    ours = loaded(monkeypatch, **urls).cache_secret
    assert loaded(monkeypatch, SMS_AMQP_URL="amqp://u:broker@h2/").cache_secret == ours
    assert loaded(monkeypatch, SMS_AMQP_URL="amqp://u:other@h1/").cache_secret != ours
    keyed = loaded(monkeypatch, SMS_CACHE_KEY="a key of the tests").cache_secret
    assert loaded(monkeypatch, SMS_AMQP_URL="amqp://u:third@h1/").cache_secret == keyed != ours
    nothing = loaded(monkeypatch, SMS_CACHE_KEY="", SMS_AMQP_URL="amqp://h/", SMS_DATABASE_URL="sqlite:///f")
    assert nothing.cache_secret != nothing.cache_secret


def test_an_empty_redis_url_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch, SMS_REDIS_URL="").redis_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMS_CACHE_KEY", PASSWORD[:15]),
        ("SMS_AMQP_URL", f"mysql://user:{PASSWORD}@host/"),
        ("SMS_AMQP_URL", f"amqp://user:{PASSWORD}@one/,http://user:{PASSWORD}@two/"),
        ("SMS_AMQP_URL", f"amqp://user:{PASSWORD}@one/,"),
        ("SMS_AMQP_URL", f"amqp://user:{PASSWORD},with-a-comma@one/"),
        ("SMS_DATABASE_URL", f"mysql://user:{PASSWORD}@host/"),
        ("SMS_REDIS_URL", f"http://user:{PASSWORD}@host/"),
        ("SMS_PROVIDER_URL", f"ftp://user:{PASSWORD}@host/"),
        ("SMS_RETRY_TIERS_S", ""),
        ("SMS_RETRY_TIERS_S", "5,soon"),
        ("SMS_RETRY_TIERS_S", "30,5"),
        ("SMS_RETRY_TIERS_S", "5,5"),
        ("SMS_RETRY_TIERS_S", "0,5"),
        ("SMS_RETRY_TIERS_S", "-1"),
        ("SMS_DRAIN_TIMEOUT_S", "-1"),
        ("SMS_LOG_LEVEL", "loud"),
        ("SMS_HEALTH_PORT", "65536"),
        ("SMS_PROVIDER_TIMEOUT_S", "0"),
        ("SMS_PROVIDER_MAX_RECIPIENTS", "0"),
        ("SMS_PROVIDER_MAX_RECIPIENTS", "101"),
        ("SMS_PREFETCH", "0"),
        ("SMS_MANAGEMENT_URL", "localhost:15672"),
        ("SMS_POLICY_LOOK_S", "0"),
        ("SMS_MAX_ATTEMPTS", "0"),
        ("SMS_MAX_ATTEMPTS", "many"),
    ],
)
def test_a_setting_that_is_wrong_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        loaded(monkeypatch, **{name: value})
    sentence = str(refused.value)
    assert sentence.startswith(f"{name}: ")
    assert "\n" not in sentence
    assert PASSWORD not in sentence


@pytest.mark.parametrize("region", ["cn", "China", "XX", ""])
def test_a_region_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, region: str) -> None:
    monkeypatch.setenv("SMS_DEFAULT_REGION", region)
    with pytest.raises(SettingsError, match=r"^SMS_DEFAULT_REGION: give a country by its two capital letters"):
        load(DispatcherSettings)


def test_every_setting_that_is_wrong_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^SMS_LOG_LEVEL: .*; SMS_PREFETCH: [^;]*$"):
        loaded(monkeypatch, SMS_PREFETCH="0", SMS_LOG_LEVEL="loud")


def test_no_secret_is_shown_when_settings_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        SMS_AMQP_URL=f"amqp://u:{PASSWORD}@h/",
        SMS_DATABASE_URL=f"postgresql://u:{PASSWORD}@h/",
        SMS_REDIS_URL=f"redis://u:{PASSWORD}@h/",
        SMS_PROVIDER_URL=f"https://u:{PASSWORD}@h/",
    )
    assert settings.amqp_url.get_secret_value() == f"amqp://u:{PASSWORD}@h/"
    assert PASSWORD not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


ODD = "p@ss/w:o#r%d$ 密码"
ENCODED = "p%40ss%2Fw%3Ao%23r%25d%24%20%E5%AF%86%E7%A0%81"


def test_a_password_of_its_own_goes_into_each_url_that_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(
        monkeypatch,
        SMS_AMQP_URL="amqp://u@one:1/,amqps://u@two/vhost,amqp://u:own@three/,amqp://four/",
        SMS_AMQP_PASSWORD=ODD,
        SMS_DATABASE_URL="postgresql://u@one:1,two/db?sslmode=require",
        SMS_DATABASE_PASSWORD=ODD,
    )
    urls = f"amqp://u:{ENCODED}@one:1/,amqps://u:{ENCODED}@two/vhost,amqp://u:own@three/,amqp://four/"
    assert settings.amqp_url.get_secret_value() == urls
    assert settings.database_url.get_secret_value() == f"postgresql://u:{ENCODED}@one:1,two/db?sslmode=require"
    assert ODD not in f"{settings!r} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:own@h/db",
        "postgresql://u@h/db?password=own",
        "postgresql://u@h/db?passfile=/own",
        "postgresql:///db",
        "sqlite:////folder/ledger.sqlite3",
    ],
)
def test_a_database_that_needs_no_other_password_keeps_its_url(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    settings = loaded(monkeypatch, SMS_DATABASE_URL=url, SMS_DATABASE_PASSWORD=ODD)
    assert settings.database_url.get_secret_value() == url


def test_without_a_password_of_its_own_every_url_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, SMS_AMQP_URL="amqp://u@one/", SMS_AMQP_PASSWORD="", SMS_DATABASE_PASSWORD="")
    assert settings.amqp_url.get_secret_value() == "amqp://u@one/"


def test_bad_settings_end_the_process_with_one_line_and_status_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SMS_LOG_LEVEL", "loud")
    with pytest.raises(SystemExit) as ended:
        load_or_exit(Settings)
    captured = capsys.readouterr()
    assert (ended.value.code, captured.out, captured.err.count("\n")) == (2, "", 1)
    assert captured.err.startswith("bad settings: SMS_LOG_LEVEL: ")


def test_a_sender_without_a_provider_says_so_and_ends_with_status_2() -> None:
    ended = sender_process()
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", "bad settings: SMS_PROVIDER_URL: Field required\n")


def test_a_sender_with_bad_tiers_says_so_in_one_line_without_any_secret() -> None:
    ended = sender_process(
        SMS_PROVIDER_URL=f"https://user:{PASSWORD}@host/",
        SMS_AMQP_URL=f"amqp://user:{PASSWORD}@host/",
        SMS_RETRY_TIERS_S="30,5",
    )
    line = "bad settings: SMS_RETRY_TIERS_S: give one or more delays in seconds, ascending, separated by commas\n"
    assert (ended.returncode, ended.stdout, ended.stderr) == (2, "", line)


@pytest.mark.parametrize("tiers_s", ["nan", "inf", "5,4294968"])
def test_a_tier_that_no_broker_can_wait_is_refused(monkeypatch: pytest.MonkeyPatch, tiers_s: str) -> None:
    with pytest.raises(SettingsError, match=r"^SMS_RETRY_TIERS_S: "):
        loaded(monkeypatch, SMS_RETRY_TIERS_S=tiers_s)


@pytest.mark.parametrize("name", ["SMS_PROVIDER_TIMEOUT_S", "SMS_DRAIN_TIMEOUT_S"])
def test_an_endless_time_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        loaded(monkeypatch, **{name: "inf"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SMS_AMQP_URL", "amqp://user:hun/ter2@host/"),
        ("SMS_AMQP_URL", "amqp://user:secret@host:port/"),
        ("SMS_AMQP_URL", "amqp://user:secret@one/,amqp://user:secret@two:port/"),
        ("SMS_DATABASE_URL", "postgresql://user:secret@host:port/db"),
        ("SMS_AMQP_URL", "amqp://user:12/secret@host/"),
        ("SMS_AMQP_URL", "amqp://user:12#secret@host/"),
        ("SMS_REDIS_URL", "redis://user:12/secret@host/"),
        ("SMS_DATABASE_URL", "postgresql://user:12/secret@host/db"),
        ("SMS_DATABASE_URL", "postgresql+psycopg://user:secret@host/db"),
        ("SMS_DATABASE_URL", "postgresql://host/db?keepalives=1"),
        ("SMS_PROVIDER_URL", "http://[bad"),
        ("SMS_PROVIDER_URL", "http:///no-host"),
    ],
)
def test_a_url_that_cannot_be_parsed_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{name}: "):
        loaded(monkeypatch, **{name: value})
