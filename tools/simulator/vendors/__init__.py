"""The vendors' APIs beside the plain one: the same numbers and behaviours, in the vendors' own words.

Credentials and signatures are as strict as theirs: password, key or secret is `TOKEN`.
"""

from aiohttp import web

from tools.simulator.problems import error
from tools.simulator.provider import Provider
from tools.simulator.vendors.aliyun import Aliyun
from tools.simulator.vendors.infobip import Infobip
from tools.simulator.vendors.reading import TOKEN
from tools.simulator.vendors.tencent import Tencent
from tools.simulator.vendors.twilio import Twilio
from tools.simulator.vendors.vonage import Vonage

__all__ = ["TOKEN", "vendor_routes"]


def vendor_routes(provider: Provider) -> list[web.RouteDef]:
    """A route for each; two share an address, and are told apart by the header that names the action."""
    aliyun, tencent = Aliyun(provider), Tencent(provider)

    async def by_action(request: web.Request) -> web.StreamResponse:
        if "X-TC-Action" in request.headers:
            return await tencent.receive(request)
        if "x-acs-action" in request.headers:
            return await aliyun.receive(request)
        return error(404, "not_found", "Aliyun is told by x-acs-action, Tencent Cloud by X-TC-Action.")

    return [
        web.post("/2010-04-01/Accounts/{sid}/Messages.json", Twilio(provider).receive),
        web.post("/sms/json", Vonage(provider).receive),
        web.post("/sms/3/messages", Infobip(provider).receive),
        web.post("/", by_action),
    ]
