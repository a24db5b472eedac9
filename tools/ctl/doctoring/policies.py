"""Policies that change what our queues do."""

import asyncio
from collections.abc import Iterable

from shared import policy_watch
from shared.policies import Flaw
from tools.ctl.doctoring.findings import Finding
from tools.ctl.doctoring.system import System


def look_at_policies(system: System) -> list[Finding]:
    """The policies by which messages are lost, or go elsewhere than they should."""
    return named(asyncio.run(policy_watch.look_at_policies(system.management.api, system.topology)))


def named(flaws: Iterable[Flaw]) -> list[Finding]:
    """Each with the command that takes it away, and the one that spares other queues."""
    return [Finding(f"{flaw.sentence}", flaw.remedy) for flaw in flaws]
