"""Errors as problem documents (RFC 9457), for every route and also where there is none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from shared.errors import BrokerUnreachable, LedgerUnavailable, PublishError, QueueMissing

CONTENT_TYPE = "application/problem+json"
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
        return problem_response(_from_aiohttp(request, error))
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
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.status.phrase,
        "status": problem.status.value,
        "detail": problem.detail,
        "errors": [{"pointer": flaw.pointer, "detail": flaw.detail} for flaw in problem.flaws],
    }
    response = web.Response(
        status=problem.status, body=orjson.dumps(body), headers={**problem.headers, "Content-Type": CONTENT_TYPE}
    )
    if problem.closes_connection:
        response.force_close()
    return response


def _from_aiohttp(request: web.Request, error: web.HTTPException) -> Problem:
    status = HTTPStatus(error.status)
    details = {
        HTTPStatus.NOT_FOUND: "There is nothing at this path.",
        HTTPStatus.METHOD_NOT_ALLOWED: f"This path does not take {request.method}.",
    }
    headers = {name: error.headers[name] for name in _KEPT_HEADERS if name in error.headers}
    return Problem(status, details.get(status, status.phrase), (), headers)
