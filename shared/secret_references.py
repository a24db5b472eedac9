"""Secrets by reference: a file of settings says where one is, and never what it is."""

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator


def read_secret(reference: Any) -> str:
    """What `env:NAME` or `file:PATH` refers to; ValueError names the place where there is nothing."""
    kind, place = _parts(reference)
    if kind == "env":
        if not (found := os.environ.get(place)):
            raise ValueError(f"the environment has no {place}")
        return found
    try:
        found = Path(place).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot read {place}: {type(error).__name__}") from None
    if not found:
        raise ValueError(f"{place} is empty")
    return found


def _parts(reference: Any) -> tuple[str, str]:
    kind, _, place = reference.partition(":") if isinstance(reference, str) else ("", "", "")
    if kind not in ("env", "file") or not place:
        raise ValueError('write where the secret is: "env:NAME" or "file:/path"')
    return kind, place


def _is_reference(value: str) -> str:
    _parts(value)
    return value


SecretReference = Annotated[str, AfterValidator(_is_reference)]
"""Where a secret is, for those who need not read it."""
