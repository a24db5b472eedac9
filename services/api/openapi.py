"""The OpenAPI 3.1 document: the request's schemas from its pydantic models, the rest written down."""

from typing import Any

from services.api.problems import CONTENT_TYPE
from services.api.requests import BatchRequest
from services.api.settings import ApiSettings
from shared.states import BatchState, State

Schema = dict[str, Any]

_REF = "#/components/schemas/{model}"
_TEXT: Schema = {"type": "string"}
_TEXT_OR_NULL: Schema = {"type": ["string", "null"]}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TIME_OR_NULL: Schema = {"type": ["string", "null"], "format": "date-time"}
_COUNTS: Schema = {"type": "object", "propertyNames": {"enum": list(State)}, "additionalProperties": _COUNT}

_PROBLEMS = {
    400: "The body cannot be read",
    401: "No API key, or an unknown one",
    404: "No batch with this id",
    408: "The body came too slowly",
    409: "A request with this Idempotency-Key is under way",
    413: "The body is too large",
    415: "Another media type than those above",
    422: "Something in the request is invalid; `errors` says where",
    503: "The broker or the ledger cannot be reached at the moment; `Retry-After` says when to try again",
}


def build_openapi(settings: ApiSettings) -> Schema:
    """The document for an api with these settings."""
    document: Schema = {
        "openapi": "3.1.0",
        "info": {
            "title": "sms-batch",
            "version": "1",
            "description": "Send one text to up to a hundred thousand recipients with one request.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": _paths(settings.max_recipients),
        "components": {"schemas": _schemas(settings.max_recipients), "parameters": _parameters()},
    }
    if settings.api_keys:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document


def _paths(max_recipients: int) -> Schema:
    batch_id = [_ref("parameters/batch_id")]
    return {
        "/v1/batches": {"post": _post_batch(), "get": _list_batches()},
        "/v1/batches/{batch_id}": {"parameters": batch_id, "get": _show_batch()},
        "/v1/batches/{batch_id}/messages": {"parameters": batch_id, "get": _list_messages()},
        "/v1/batches/{batch_id}/events": {"parameters": batch_id, "get": _events()},
        "/send-sms": {"post": _send_sms(max_recipients)},
    }


def _post_batch() -> Schema:
    return {
        "operationId": "postBatch",
        "summary": "Accept a batch",
        "description": "202 is given only after the broker has confirmed the batch. Repeat a request under one "
        "`Idempotency-Key` as often as you like: it makes one batch.",
        "parameters": [_ref("parameters/idempotency_key"), _ref("parameters/accept_language")],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _schema("BatchRequest")}}},
        "responses": _accepted(),
    }


def _send_sms(max_recipients: int) -> Schema:
    form = {
        "type": "object",
        "required": ["mobiles[]"],
        "properties": {
            "mobiles[]": {"type": "array", "items": _TEXT, "minItems": 1, "maxItems": max_recipients},
            "content": {"type": "string", "maxLength": 5000},
            "template_id": {"type": "string", "pattern": "^[0-9]*$", "maxLength": 18},
        },
    }
    content = {
        "application/x-www-form-urlencoded": {
            "schema": form,
            "encoding": {"mobiles[]": {"style": "form", "explode": True}},
        },
        "application/json": {"schema": _schema("SendSms")},
    }
    return {
        "operationId": "sendSms",
        "summary": "Accept a batch from a form",
        "description": "What jQuery's `$.ajax` sends. The numbers may come as `mobiles[]`, `mobiles` or `mobiles[0]`, "
        "also several in one field with commas or line ends between them.",
        "parameters": [_ref("parameters/idempotency_key"), _ref("parameters/accept_language")],
        "requestBody": {"required": True, "content": content},
        "responses": _accepted(),
    }


def _list_batches() -> Schema:
    return {
        "operationId": "listBatches",
        "summary": "Batches, newest first",
        "parameters": [_limit(50, 200), _ref("parameters/cursor")],
        "responses": {"200": _page("BatchList"), **_problems(401, 422, 503)},
    }


def _show_batch() -> Schema:
    return {
        "operationId": "showBatch",
        "summary": "A batch and how far it is",
        "responses": {"200": _json("The batch", "Batch"), **_problems(401, 404, 503)},
    }


def _list_messages() -> Schema:
    state = {"name": "state", "in": "query", "schema": {"type": "string", "enum": list(State)}}
    return {
        "operationId": "listMessages",
        "summary": "A batch's numbers, masked, in row order",
        "parameters": [state, _limit(100, 1000), _ref("parameters/cursor")],
        "responses": {"200": _page("MessageList"), **_problems(401, 404, 422, 503)},
    }


def _events() -> Schema:
    stream = {"description": "The batch, at every change", "content": {"text/event-stream": {"schema": _TEXT}}}
    done = {"description": "The event of `Last-Event-ID` was the last one"}
    last_event_id = {"name": "Last-Event-ID", "in": "header", "schema": _TEXT}
    return {
        "operationId": "followBatch",
        "summary": "Server-sent events of a batch's counts, until all are final",
        "parameters": [last_event_id],
        "responses": {"200": stream, "204": done, **_problems(401, 404, 503)},
    }


def _schemas(max_recipients: int) -> Schema:
    request = BatchRequest.model_json_schema(ref_template=_REF)
    definitions: Schema = request.pop("$defs")
    request["properties"]["recipients"]["maxItems"] = max_recipients
    recipient = {"type": ["string", "integer"]}
    send_sms = {
        "mobiles": {"anyOf": [_TEXT, {"type": "array", "items": recipient, "minItems": 1}]},
        "content": _TEXT_OR_NULL,
        "template_id": {"type": ["string", "integer", "null"]},
    }
    return {
        **definitions,
        "BatchRequest": request,
        "SendSms": _object(send_sms, "mobiles") | {"additionalProperties": False},
        "Accepted": _accepted_schema(),
        "Batch": _batch_schema(),
        "BatchList": _list_schema("batches", "Batch"),
        "Message": _message_schema(),
        "MessageList": _list_schema("messages", "Message"),
        "Links": _object({"self": _TEXT, "messages": _TEXT, "events": _TEXT}, "self", "messages", "events"),
        "Problem": _problem_schema(),
    }


def _accepted_schema() -> Schema:
    members = {
        "success": {"const": True},
        "message": _TEXT,
        "batch_id": {"type": "string", "format": "uuid"},
        "status": {"const": BatchState.ACCEPTED.value},
        "recipients": _COUNT,
        "links": _schema("Links"),
    }
    return _object(members, *members)


def _batch_schema() -> Schema:
    members = {
        "batch_id": {"type": "string", "format": "uuid"},
        "status": {"type": "string", "enum": list(BatchState)},
        "recipients": {"type": ["integer", "null"], "minimum": 0},
        "counts": _COUNTS,
        "lane": _TEXT,
        "provider": _TEXT,
        "reference": _TEXT_OR_NULL,
        "template_id": {"type": ["integer", "null"]},
        "created_at": _TIME_OR_NULL,
        "send_at": _TIME_OR_NULL,
        "expires_at": _TIME_OR_NULL,
        "finished_at": _TIME_OR_NULL,
        "error_code": _TEXT_OR_NULL,
        "error_reason": _TEXT_OR_NULL,
        "links": _schema("Links"),
    }
    return _object(members, "batch_id", "status", "recipients", "counts", "created_at", "finished_at", "links")


def _message_schema() -> Schema:
    members = {
        "row": _COUNT,
        "recipient": {"type": "string", "description": "Masked: +86138****8000"},
        "state": {"type": "string", "enum": list(State)},
        "attempts": _COUNT,
        "segments": {"type": ["integer", "null"]},
        "error_code": _TEXT_OR_NULL,
        "error_reason": _TEXT_OR_NULL,
        "provider_message_id": _TEXT_OR_NULL,
        "updated_at": {"type": "string", "format": "date-time"},
    }
    return _object(members, *members)


def _problem_schema() -> Schema:
    flaw = _object({"pointer": _TEXT, "detail": _TEXT}, "pointer", "detail")
    members = {
        "type": _TEXT,
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "errors": {"type": "array", "items": flaw},
    }
    return _object(members, *members)


def _list_schema(name: str, item: str) -> Schema:
    members = {name: {"type": "array", "items": _schema(item)}, "next_cursor": _TEXT_OR_NULL}
    return _object(members, *members)


def _parameters() -> Schema:
    key = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}
    return {
        "batch_id": {"name": "batch_id", "in": "path", "required": True, "schema": {"type": "string"}},
        "cursor": {"name": "cursor", "in": "query", "schema": _TEXT, "description": "The last page's `next_cursor`"},
        "idempotency_key": {"name": "Idempotency-Key", "in": "header", "schema": key},
        "accept_language": {"name": "Accept-Language", "in": "header", "schema": _TEXT},
    }


def _limit(default: int, greatest: int) -> Schema:
    schema = {"type": "integer", "minimum": 1, "maximum": greatest, "default": default}
    return {"name": "limit", "in": "query", "schema": schema}


def _accepted() -> Schema:
    answer = _json("The broker has the batch", "Accepted")
    answer["headers"] = {"Location": {"description": "Where the batch is", "schema": _TEXT}}
    return {"202": answer, **_problems(400, 401, 408, 409, 413, 415, 422, 503)}


def _page(model: str) -> Schema:
    link = {"description": 'The next page, as `rel="next"`', "schema": _TEXT}
    return {**_json("A page", model), "headers": {"Link": link}}


def _problems(*statuses: int) -> Schema:
    schema = {"schema": _schema("Problem")}
    return {str(status): {"description": _PROBLEMS[status], "content": {CONTENT_TYPE: schema}} for status in statuses}


def _json(description: str, model: str) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": _schema(model)}}}


def _object(members: Schema, *required: str) -> Schema:
    return {"type": "object", "properties": members, "required": list(required)}


def _schema(model: str) -> Schema:
    return {"$ref": _REF.format(model=model)}


def _ref(place: str) -> Schema:
    return {"$ref": f"#/components/{place}"}
