"""`SMS_PROVIDERS_FILE`, as a sender reads it: the accounts at the providers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from services.sender.providers.accounts import Account, PlainAccount
from services.sender.transports.address import Address
from shared.providers import ProviderSettings, problem_of, provider_tables, wrong_providers

_ACCOUNT: TypeAdapter[Account] = TypeAdapter(Annotated[Account, Field(discriminator="type")])
_TAGS = frozenset({"twilio", "vonage", "infobip", "aliyun", "tencent", "http", "plain"})
_OF_ALL = frozenset(ProviderSettings.model_fields) - {"type"}


def read_accounts(file: Path, names: frozenset[str] | None = None) -> Mapping[str, Account]:
    """The accounts in the file by the providers' names, or some of them: another's secrets need not be there.

    SettingsError is one line that names the key that is wrong, and shows no secret.
    """
    tables = provider_tables(file)
    return {name: _read(name, table) for name, table in tables.items() if names is None or name in names}


def _read(name: str, table: Mapping[str, Any]) -> Account:
    try:
        account = _ACCOUNT.validate_python({key: value for key, value in table.items() if key not in _OF_ALL})
    except ValidationError as error:
        raise problem_of(name, error, _TAGS) from None
    key = "url" if isinstance(account, PlainAccount) else "endpoint"
    try:
        address = Address.of(account.endpoint)
    except ValueError:
        raise wrong_providers(f"providers.{name}.{key}: not a URL") from None
    if not address.is_https and not account.allow_http:
        raise wrong_providers(f"providers.{name}.{key}: https, or say allow_http = true")
    return account
