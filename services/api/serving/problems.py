"""Errors as problem documents (RFC 9457), for every route and also where there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from shared.errors import BrokerUnreachable, LedgerUnavailable, PublishError, QueueMissing

CONTENT_TYPE = "application/problem+json"
SERVER = "sms-batch"
"""What the header Server says: no version of anything."""
_RETRY_AFTER_S = 2
_KEPT_HEADERS = ("Allow", "WWW-Authenticate", "Retry-After")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong in a request, and where: a JSON pointer into its body, or `/name` of a query parameter."""

    pointer: str
    detail: str


@dataclass(eq=False)
class Problem(Exception):
    """An error to be answered; its texts never repeat a number or a text of the request."""

    status: HTTPStatus
    detail: str
    flaws: Sequence[Flaw] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    closes_connection: bool = False


def invalid(*flaws: Flaw) -> Problem:
    """422 for a request that can be read and says something that cannot be."""
    return Problem(HTTPStatus.UNPROCESSABLE_ENTITY, flaws[0].detail, flaws)


def malformed(detail: str) -> Problem:
    """400 for a body that cannot be read."""
    return Problem(HTTPStatus.BAD_REQUEST, detail, (Flaw("", detail),))


def unavailable(detail: str, retry_after_s: int = _RETRY_AFTER_S) -> Problem:
    """503: the same request may well succeed a little later."""
    return Problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, (), {"Retry-After": str(retry_after_s)})


@web.middleware
async def problem_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every error below with a problem document."""
    try:
        return await handler(request)
    except Problem as problem:
        return problem_response(problem)
    except web.HTTPException as error:
        if error.status < HTTPStatus.BAD_REQUEST:
            raise
        return problem_response(from_aiohttp(request, error))
    except PublishError as error:
        log.warning("batch_not_accepted", reason=str(error), error=type(error).__name__)
        return problem_response(unavailable("The broker did not confirm the batch; send it again with the same key."))
    except (BrokerUnreachable, QueueMissing) as error:
        log.warning("broker_unreachable", reason=str(error))
        return problem_response(unavailable("The broker cannot be reached, or lacks the queue, at the moment."))
    except LedgerUnavailable as error:
        log.warning("ledger_unavailable", reason=str(error))
        return problem_response(unavailable("The ledger cannot be reached at the moment."))
    except Exception:
        log.exception("request_failed", method=request.method)
        return problem_response(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Something went wrong here; it is logged."))


def problem_response(problem: Problem) -> web.Response:
    """The document as a response."""
    headers = {**problem.headers, "Content-Type": CONTENT_TYPE}
    response = web.Response(status=problem.status, body=_document(problem), headers=headers)
    if problem.closes_connection:
        response.force_close()
    return response


def raw_answer(problem: Problem) -> bytes:
    """The whole answer, for a connection on which there is no request, and which is closed after it."""
    body = _document(problem)
    headers = {
        **problem.headers,
        "Content-Type": CONTENT_TYPE,
        "Content-Length": str(len(body)),
        "Connection": "close",
        "Server": SERVER,
    }
    lines = [f"HTTP/1.1 {problem.status.value} {problem.status.phrase}", *(f"{k}: {v}" for k, v in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


def _document(problem: Problem) -> bytes:
    return orjson.dumps(
        {
            "type": "about:blank",
            "title": problem.status.phrase,
            "status": problem.status.value,
            "detail": problem.detail,
            "errors": [{"pointer": flaw.pointer, "detail": flaw.detail} for flaw in problem.flaws],
        }
    )


def from_aiohttp(request: web.BaseRequest, error: web.HTTPException) -> Problem:
    """What aiohttp raises, without its text, which quotes the request."""
    status = HTTPStatus(error.status)
    details = {
        HTTPStatus.NOT_FOUND: "There is nothing at this path.",
        HTTPStatus.METHOD_NOT_ALLOWED: "This path does not take this method; Allow says which it takes.",
        HTTPStatus.EXPECTATION_FAILED: "Of Expect, only 100-continue is understood.",
    }
    headers = {name: error.headers[name] for name in _KEPT_HEADERS if name in error.headers}
    return Problem(status, details.get(status, status.phrase), (), headers)
