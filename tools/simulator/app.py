"""The simulator's routes: the provider itself, its behaviour and the calls it saw."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tools.simulator.behaviour import DefaultBehaviour
from tools.simulator.calls import CallLog
from tools.simulator.problems import JSON, error, invalid
from tools.simulator.provider import Provider
from tools.simulator.receipts import ReceiptBehaviour, Receipts, Text
from tools.simulator.vendors import vendor_routes
from tools.simulator.vendors.pushing import PUSHES

_LARGEST_REQUEST = 64 * 1024 * 1024  # a thousand of the longest texts


class _BatchQuery(BaseModel):
    model_config = ConfigDict(extra="forbid")

    batch: str | None = None


class _PageQuery(_BatchQuery):
    reference: str | None = None
    limit: int = Field(default=100, ge=1, le=10_000)
    offset: int = Field(default=0, ge=0)


def build_app(late_s: float) -> web.Application:
    """An application with an empty record; `late_s` is how long accept-late takes to answer."""
    calls = CallLog()
    receipts = Receipts(PUSHES)
    provider = Provider(calls, late_s, receipts)
    app = web.Application(client_max_size=_LARGEST_REQUEST)
    app.cleanup_ctx.append(_telling(receipts))
    app.router.add_post("/messages", provider.receive)
    app.add_routes(vendor_routes(provider))
    app.add_routes(_Control(provider).routes())
    app.add_routes(_Inspection(calls).routes())
    app.router.add_get("/healthz", _healthz)
    app.router.add_route("*", "/{path:.*}", _not_found)
    return app


class _Control:
    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/behaviour", self.show),
            web.put("/behaviour", self.replace),
            web.get("/receipts", self.told),
            web.put("/receipts", self.tell),
            web.post("/inbound", self.pass_on),
        ]

    async def show(self, _request: web.Request) -> web.Response:
        return _json(self._provider.behaviour.model_dump(mode="json"))

    async def replace(self, request: web.Request) -> web.Response:
        try:
            self._provider.behaviour = DefaultBehaviour.model_validate_json(await request.read())
        except ValidationError as problem:
            return invalid(problem)
        return await self.show(request)

    async def told(self, _request: web.Request) -> web.Response:
        return _json(dict(self._provider.receipts.told()))

    async def tell(self, request: web.Request) -> web.Response:
        try:
            self._provider.receipts.behaviour = ReceiptBehaviour.model_validate_json(await request.read())
        except ValidationError as problem:
            return invalid(problem)
        return await self.told(request)

    async def pass_on(self, request: web.Request) -> web.Response:
        try:
            text = Text.model_validate_json(await request.read())
        except ValidationError as problem:
            return invalid(problem)
        return _json({"status": await self._provider.receipts.pass_on(text)})


class _Inspection:
    def __init__(self, calls: CallLog) -> None:
        self._calls = calls

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/calls", self.page),
            web.get("/calls/summary", self.summary),
            web.get("/calls/counts", self.counts),
            web.get("/calls/accepted", self.accepted),
            web.delete("/calls", self.clear),
        ]

    async def page(self, request: web.Request) -> web.Response:
        try:
            query = _PageQuery.model_validate(dict(request.query))
        except ValidationError as problem:
            return invalid(problem)
        return _json({"calls": self._calls.page(query.reference, query.batch, query.limit, query.offset)})

    async def summary(self, request: web.Request) -> web.Response:
        try:
            query = _BatchQuery.model_validate(dict(request.query))
        except ValidationError as problem:
            return invalid(problem)
        return _json(self._calls.summary(query.batch))

    async def counts(self, request: web.Request) -> web.Response:
        try:
            query = _BatchQuery.model_validate(dict(request.query))
        except ValidationError as problem:
            return invalid(problem)
        return _json({"counts": self._calls.counts(query.batch)})

    async def accepted(self, request: web.Request) -> web.Response:
        try:
            query = _BatchQuery.model_validate(dict(request.query))
        except ValidationError as problem:
            return invalid(problem)
        return _json({"counts": self._calls.accepted(query.batch)})

    async def clear(self, _request: web.Request) -> web.Response:
        self._calls.clear()
        return web.Response(status=204)


def _telling(receipts: Receipts) -> Callable[[web.Application], AsyncIterator[None]]:
    async def run(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.create_task(receipts.run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    return run


async def _healthz(_request: web.Request) -> web.Response:
    return _json({"status": "ok"})


async def _not_found(request: web.Request) -> web.Response:
    return error(404, "not_found", f"There is no {request.method} {request.path} here; messages go to POST /messages.")


def _json(members: dict[str, Any]) -> web.Response:
    return web.Response(body=orjson.dumps(members), headers=JSON)
