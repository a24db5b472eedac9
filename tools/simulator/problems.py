"""How the simulator words its errors: JSON with a code and a message that names the field."""

from collections.abc import Sequence
from typing import Any

import orjson
from aiohttp import web
from pydantic import ValidationError

JSON = {"Content-Type": "application/json"}


def error(status: int, code: str, message: str, **members: Any) -> web.Response:
    """An error of the provider contract: `{"code", "message"}` and any further members."""
    return web.Response(status=status, body=orjson.dumps({"code": code, "message": message, **members}), headers=JSON)


def invalid(problem: ValidationError) -> web.Response:
    """422 with every field at fault in `errors`, and the first of them in `message`."""
    errors = [{"field": _field(item["loc"]), "detail": item["msg"]} for item in problem.errors(include_url=False)]
    return error(422, "invalid", first_problem(problem), errors=errors)


def first_problem(problem: ValidationError) -> str:
    """One line naming the field and what is wrong with it."""
    first = problem.errors(include_url=False)[0]
    return f"{_field(first['loc'])}: {first['msg']}"


def _field(location: Sequence[int | str]) -> str:
    return ".".join(map(str, location)) or "body"
