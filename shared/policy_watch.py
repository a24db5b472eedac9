"""Looking at the broker's policies again and again: what may lose messages is said, and refuses new ones."""

import asyncio
import time
from math import inf
from typing import Any

import structlog
from pydantic import BaseModel, Field

from shared.management import ManagementApi, NotAsked, management_api
from shared.policies import OPERATOR_POLICY, POLICY, Flaw, Policy, Told, flaws
from shared.settings import Settings
from shared.topology import Topology

NOT_CONFIGURED = "no management API is configured (SMS_MANAGEMENT_URL is empty)"

_LONGEST_S = 10
_SAID_EVERY_S = 60
# Without statistics, which lag by five seconds. RabbitMQ 3.10 then leaves out operator policies.
_OURS = "disable_stats=true&columns=name,policy,operator_policy&name=%5Esms%5C.&use_regex=true&page=1&page_size=500"

log = structlog.get_logger()


class _PolicyThere(BaseModel):
    name: str
    pattern: str
    definition: dict[str, Any]
    priority: int = 0
    apply_to: str = Field("all", alias="apply-to")


class _QueuesThere(BaseModel):
    items: list[dict[str, Any]]


async def look_at_policies(api: ManagementApi | None, topology: Topology) -> list[Flaw]:
    """The policies that change what our queues do; NotAsked with the reason where that cannot be seen.

    Any user with the tag `management` and a permission on the virtual host may ask.
    """
    if api is None:
        raise NotAsked(NOT_CONFIGURED)
    there = await api.ask(f"/api/queues/{api.quoted_host}?{_OURS}", _QueuesThere)
    policies = [
        Policy(each.name, each.pattern, each.definition, each.priority, each.apply_to, kind)
        for kind, path in ((POLICY, "policies"), (OPERATOR_POLICY, "operator-policies"))
        for each in await api.ask(f"/api/{path}/{api.quoted_host}", list[_PolicyThere])
    ]
    return flaws(api.virtual_host, topology.queues, policies, {item["name"]: _told(item) for item in there.items})


def _told(item: dict[str, Any]) -> Told:
    # A queue without a policy has no such key in 3.10, and null in 4.3. Without an operator policy, too, 4.3 has null.
    return {POLICY: item.get(POLICY)} | {kind: item[kind] for kind in (OPERATOR_POLICY,) if kind in item}


class PolicyWatch:
    """What the last look saw. Before the first has ended nothing is known; where one could not be made, what was seen
    before holds."""

    def __init__(self, settings: Settings) -> None:
        self._api, self._topology, self.every_s = management_api(settings), settings.topology, settings.policy_look_s
        self._flaws: list[Flaw] | None = None
        self._said_at_s: dict[str, float] = {}
        self._not_checked: str | None = None

    @property
    def lets_accept(self) -> bool:
        """Whether a look was tried, and no policy is known by which a message may be lost."""
        return self._flaws is not None and not any(flaw.may_lose for flaw in self._flaws)

    @property
    def refusal(self) -> str:
        """Why nothing is accepted, for clients."""
        losing = [flaw.sentence for flaw in self._flaws or [] if flaw.may_lose]
        return f"RabbitMQ's {'; '.join(losing)}" if losing else "RabbitMQ's policies are being looked at"

    async def run(self) -> None:
        """Look, and again, until cancelled; a broker that is away ends nothing."""
        while True:
            await self.look()
            await asyncio.sleep(self.every_s)

    async def look(self) -> None:
        """Look once, and say what is wrong: a flaw at once and then every minute, what could not be asked once."""
        try:
            async with asyncio.timeout(_LONGEST_S):
                found = await look_at_policies(self._api, self._topology)
            not_checked = None
        except TimeoutError:
            found, not_checked = self._flaws or [], f"the management API took longer than {_LONGEST_S} s"
        except NotAsked as error:
            found, not_checked = self._flaws or [], str(error)
        if not_checked and not_checked != self._not_checked:
            log.warning("policies_not_checked", reason=not_checked)
        self._flaws, self._not_checked = found, not_checked
        self._say(time.monotonic())

    def _say(self, now_s: float) -> None:
        due = [flaw for flaw in self._flaws or [] if now_s >= self._said_at_s.get(flaw.sentence, -inf) + _SAID_EVERY_S]
        for flaw in due:
            log.error("policy_harms_queues", policy=flaw.policy.name, reason=flaw.sentence, mend=flaw.remedy)
        if self._said_at_s and not self._flaws:
            log.info("policies_in_order")
        said = {flaw.sentence: self._said_at_s.get(flaw.sentence, now_s) for flaw in self._flaws or []}
        self._said_at_s = said | {flaw.sentence: now_s for flaw in due}
