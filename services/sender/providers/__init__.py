"""Providers: one folder for each type, registered here by its name."""

from collections.abc import Callable, Mapping

from services.sender.providers.gateway import Gateway
from services.sender.providers.plain import plain_gateway
from services.sender.settings import SenderSettings

TYPES: Mapping[str, Callable[[SenderSettings], Gateway]] = {"plain": plain_gateway}
"""What makes the gateway of each type."""
