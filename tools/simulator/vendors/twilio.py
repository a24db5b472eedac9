"""Twilio: one message in a form."""

from collections.abc import Mapping

from aiohttp import web

from tools.simulator.behaviour import Behaviour
from tools.simulator.provider import Message, Provider, spoilt
from tools.simulator.vendors.reading import E164, TOKEN, answer, basic, form, pause_s

_LONGEST_TEXT = 1600
_ERRORS: Mapping[Behaviour, tuple[int, int, str]] = {
    Behaviour.THROTTLE: (429, 20429, "Too Many Requests"),
    Behaviour.INTERNAL_ERROR: (500, 20500, "Internal Server Error"),
    Behaviour.UNAVAILABLE: (503, 20503, "Service Unavailable"),
    Behaviour.UNAUTHORIZED: (401, 20003, "Authenticate"),
    Behaviour.NO_BALANCE: (403, 20005, "Account not active"),
    Behaviour.FORBIDDEN: (403, 20003, "Permission Denied"),
    Behaviour.PROXY_REFUSES: (407, 20003, "Proxy Authentication Required"),
    Behaviour.REFUSE: (400, 21610, "Attempt to send to unsubscribed recipient"),
    Behaviour.SPOIL: (400, 21614, "'To' number is not a valid mobile number"),
}


class Twilio:
    """Twilio knows no reference, so the number stands for one."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def receive(self, request: web.Request) -> web.StreamResponse:
        """A 201 with a sid, or an error with Twilio's code."""
        user, secret = basic(request)
        if secret != TOKEN or not user.startswith(("AC", "SK")):
            return _error(401, 20003, "Authenticate")
        fields = form(await request.read())
        if (wrong := _wrong(fields)) is not None:
            return _error(400, *wrong)
        message = Message(reference=f"twilio:{fields['To']}", to=fields["To"], text=fields["Body"])
        (plan,), (message_id,) = await self._provider.take(
            [message], kind="twilio", url=fields.get("StatusCallback"), id_of=lambda id_: f"SM{id_}"
        )
        if (spoilt_one := spoilt(request, [plan])) is not None:
            return spoilt_one
        if message_id is None:
            return _error(*_ERRORS[plan.behaviour], pause_s=pause_s([plan]))
        return answer({"sid": f"SM{message_id}", "status": "queued", "error_code": None, "to": fields["To"]}, 201)


def _wrong(fields: Mapping[str, str]) -> tuple[int, str] | None:
    if not E164.fullmatch(fields.get("To", "")):
        return 21211, "Invalid 'To' Phone Number"
    if not (fields.get("From") or fields.get("MessagingServiceSid")):
        return 21603, "A 'From' phone number is required"
    if not fields.get("Body"):
        return 21602, "Message body is required"
    if len(fields["Body"]) > _LONGEST_TEXT:
        return 21617, "The concatenated message body exceeds the 1600 character limit"
    return None


def _error(status: int, code: int, words: str, pause_s: str | None = None) -> web.Response:
    content = {"code": code, "message": words, "more_info": f"https://www.twilio.com/docs/errors/{code}"}
    return answer({**content, "status": status}, status, pause_s)
