"""The OpenAPI 3.1 document: what each route takes and answers."""

from pydantic import TypeAdapter

from services.api.documents.openapi_schemas import TEXT, Schema, schema, schemas
from services.api.serving.problems import CONTENT_TYPE
from services.api.settings import ApiSettings
from shared.domain.options import Tag
from shared.domain.states import State

_PROBLEMS = {
    400: "The body cannot be read",
    401: "No API key, or an unknown one",
    404: "No batch with this id",
    408: "The body came too slowly",
    409: "A request with this Idempotency-Key is under way",
    413: "The body is too large",
    415: "Another media type than those above",
    422: "Something in the request is invalid; `errors` says where",
    429: "Too many requests without a right key, or too many event streams; `Retry-After` says when to try again",
    503: "The broker or the ledger cannot be reached at the moment; `Retry-After` says when to try again",
}

_KEYED = (401, 429)

_COMMANDS = {
    "pause": ("Begin no number any more, until the batch is resumed", "What is with the provider ends as it ends."),
    "resume": ("Go on with a paused batch", "It waits for its `send_at` where that is still ahead."),
    "cancel": (
        "Never send what has not begun",
        "What is with the provider ends as it ends; a number that would be tried again is cancelled when its turn "
        "comes.",
    ),
}


_PROVIDER = {
    "pause": ("Let nobody call a provider", "What waits for it goes out by another one, or waits until it is resumed."),
    "resume": ("End every pause of a provider", "One call at a time shows whether it works."),
}
_NAME: Schema = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
_LETTER_COMMANDS = {
    "replay": (
        "Send dead letters again",
        "Each goes back to the senders, once; stale ones are taken out, and those that cannot be sent again stay.",
    ),
    "discard": ("Throw dead letters away", "The reason is kept; their numbers stay failed."),
}
_ROW: Schema = {"name": "row", "in": "path", "required": True, "schema": {"type": "integer", "minimum": 0}}
_LETTER_FILTER: tuple[Schema, ...] = tuple(
    {"name": name, "in": "query", "schema": TEXT} for name in ("batch_id", "code", "provider")
)


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
        "components": {"schemas": schemas(settings.max_recipients), "parameters": _parameters()},
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
        **{f"/v1/batches/{{batch_id}}/{name}": {"parameters": batch_id, "post": _command(name)} for name in _COMMANDS},
        "/v1/batches/{batch_id}/resend": {"parameters": batch_id, "post": _resend()},
        "/v1/batches/{batch_id}/messages/{row}/attempts": {"parameters": [*batch_id, _ROW], "get": _list_attempts()},
        "/v1/provider": {"get": _show_provider()},
        "/v1/providers": {"get": _list_providers()},
        **{
            f"/v1/providers/{{name}}/{name}": {"parameters": [_NAME], "post": _command_provider(name)}
            for name in _PROVIDER
        },
        "/v1/providers/{name}/test": {"parameters": [_NAME], "post": _test_provider()},
        "/v1/dead-letters": {"get": _list_failed()},
        "/v1/dead-letters/groups": {"get": _count_failed()},
        "/v1/dead-letters/replay": {"post": _handle_letters("replay")},
        "/v1/dead-letters/discard": {"post": _handle_letters("discard")},
        "/v1/suppressions": {"get": _list_suppressions(), "post": _suppress()},
        "/v1/suppressions/remove": {"post": _unsuppress()},
        "/send-sms": {"post": _send_sms(max_recipients)},
    }


def _post_batch() -> Schema:
    return {
        "operationId": "postBatch",
        "summary": "Accept a batch",
        "description": "202 is given only after the broker has confirmed the batch. Repeat a request under one "
        "`Idempotency-Key` as often as you like: it makes one batch.",
        "parameters": [_ref("parameters/idempotency_key"), _ref("parameters/accept_language")],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema("BatchRequest")}}},
        "responses": _accepted("The broker has the batch"),
    }


def _send_sms(max_recipients: int) -> Schema:
    form = {
        "type": "object",
        "required": ["mobiles[]"],
        "properties": {
            "mobiles[]": {"type": "array", "items": TEXT, "minItems": 1, "maxItems": max_recipients},
            "content": {"type": "string", "maxLength": 5000},
            "template_id": {"type": "string", "pattern": "^[0-9]*$", "maxLength": 18},
        },
    }
    content = {
        "application/x-www-form-urlencoded": {
            "schema": form,
            "encoding": {"mobiles[]": {"style": "form", "explode": True}},
        },
        "multipart/form-data": {"schema": form},
        "application/json": {"schema": schema("SendSms")},
    }
    return {
        "operationId": "sendSms",
        "summary": "Accept a batch from a form",
        "description": "What jQuery's `$.ajax` or a `FormData` sends. The numbers may come as `mobiles[]`, `mobiles` "
        "or `mobiles[0]`, also several in one field with commas or line ends between them. A form is read in UTF-8, or "
        "in GB18030, GBK or GB2312 where its Content-Type or its `_charset_` field says so.",
        "parameters": [_ref("parameters/idempotency_key"), _ref("parameters/accept_language")],
        "requestBody": {"required": True, "content": content},
        "responses": _accepted("The broker has the batch"),
    }


def _list_batches() -> Schema:
    label = TypeAdapter(Tag).json_schema()
    tag = {"name": "tag", "in": "query", "schema": label, "description": "Those with this tag only"}
    return {
        "operationId": "listBatches",
        "summary": "Batches, newest first",
        "parameters": [tag, _limit(50, 200), _ref("parameters/cursor")],
        "responses": {"200": _page("BatchList"), **_problems(*_KEYED, 422, 503)},
    }


def _show_batch() -> Schema:
    return {
        "operationId": "showBatch",
        "summary": "A batch and how far it is",
        "responses": {"200": _json("The batch", "Batch"), **_problems(*_KEYED, 404, 503)},
    }


def _command(name: str) -> Schema:
    summary, description = _COMMANDS[name]
    refused = _problems(409)["409"] | {
        "description": "The batch has ended; with `Retry-After`, it is not in the ledger yet"
    }
    return {
        "operationId": f"{name}Batch",
        "summary": summary,
        "description": f"{description} The command may be repeated.",
        "responses": {"200": _json("The batch after it", "Batch"), **_problems(*_KEYED, 404, 503), "409": refused},
    }


def _resend() -> Schema:
    refused = _problems(409)["409"] | {
        "description": "No number is left to be sent again; with `Retry-After`, the batch is not in the ledger yet"
    }
    return {
        "operationId": "resendBatch",
        "summary": "Send the failed, expired or undelivered numbers of a batch again, in a batch of their own",
        "description": "Options and texts are those of the old batch, but for the times. A number is in one such batch "
        "only, and the old batch never sends it again: the request may be repeated, with or without an "
        "`Idempotency-Key`, and nobody gets a second text by it. 202 is given when the ledger has the new batch.",
        "parameters": [_ref("parameters/idempotency_key"), _ref("parameters/accept_language")],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema("ResendRequest")}}},
        "responses": {**_accepted("The ledger has the batch"), **_problems(404), "409": refused},
    }


def _list_messages() -> Schema:
    state = {"name": "state", "in": "query", "schema": {"type": "string", "enum": list(State)}}
    return {
        "operationId": "listMessages",
        "summary": "A batch's numbers, masked, in row order",
        "parameters": [state, _limit(100, 1000), _ref("parameters/cursor")],
        "responses": {"200": _page("MessageList"), **_problems(*_KEYED, 404, 422, 503)},
    }


def _list_attempts() -> Schema:
    return {
        "operationId": "listAttempts",
        "summary": "Each attempt of a number, in order, and the receipts that its own entry does not tell of",
        "responses": {"200": _json("The attempts", "AttemptList"), **_problems(*_KEYED, 404, 503)},
    }


def _show_provider() -> Schema:
    return {
        "operationId": "showProvider",
        "summary": "Whether a provider is held, why, and until when",
        "description": "While it is, no number of it is called and none fails: all wait. A provider that is called is "
        "not in the list.",
        "responses": {"200": _json("The providers that are held", "Provider"), **_problems(401, 503)},
    }


def _list_providers() -> Schema:
    return {
        "operationId": "listProviders",
        "summary": "The providers: what each takes, whether it is called, and what the senders do with it",
        "responses": {"200": _json("All of them", "ProviderList"), **_problems(*_KEYED, 503)},
    }


def _command_provider(name: str) -> Schema:
    summary, description = _PROVIDER[name]
    return {
        "operationId": f"{name}Provider",
        "summary": summary,
        "description": description,
        "responses": {
            "200": _json("The provider after it", "OneProvider"),
            **_problems(*_KEYED, 503),
            **_no_provider(),
        },
    }


def _test_provider() -> Schema:
    return {
        "operationId": "testProvider",
        "summary": "Send one text by a provider, to see what comes of it",
        "description": "Accepted like any batch, pinned to this provider and in the priority lane where it takes that; "
        "the batch says what came of it. While the provider is paused or held, the text waits.",
        "parameters": [_ref("parameters/idempotency_key"), _ref("parameters/accept_language")],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema("ProviderTestRequest")}}},
        "responses": {**_accepted("The broker has the batch"), **_no_provider()},
    }


def _no_provider() -> Schema:
    return {"404": _problems(404)["404"] | {"description": "No provider of this name"}}


def _list_failed() -> Schema:
    return {
        "operationId": "listDeadLetters",
        "summary": "The numbers that failed, masked, by batch and row",
        "description": "As the ledger has them, without those whose letters were thrown away, or that are sent again "
        "in another batch.",
        "parameters": [*_LETTER_FILTER, _limit(100, 1000), _ref("parameters/cursor")],
        "responses": {"200": _page("DeadLetterList"), **_problems(*_KEYED, 422, 503)},
    }


def _count_failed() -> Schema:
    return {
        "operationId": "countDeadLetters",
        "summary": "The numbers that failed, counted by code and provider, the most frequent first",
        "parameters": list(_LETTER_FILTER),
        "responses": {"200": _json("The groups", "DeadLetterGroups"), **_problems(*_KEYED, 422, 503)},
    }


def _handle_letters(name: str) -> Schema:
    summary, description = _LETTER_COMMANDS[name]
    busy = _problems(409)["409"] | {"description": "Another request about dead letters is under way"}
    model = f"{name.capitalize()}Request"
    return {
        "operationId": f"{name}DeadLetters",
        "summary": summary,
        "description": f"{description} Repeat it while the answer says `more`; after a 503 too: what is done is done.",
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema(model)}}},
        "responses": {
            "200": _json("What came of them", "Handled"),
            **_problems(400, *_KEYED, 408, 413, 415, 422, 503),
            "409": busy,
        },
    }


def _list_suppressions() -> Schema:
    return {
        "operationId": "listSuppressions",
        "summary": "The numbers that opted out, masked, in the order in which they came",
        "parameters": [
            {"name": "recipient", "in": "query", "schema": TEXT, "description": "Of this number (E.164) only"},
            _limit(100, 1000),
            _ref("parameters/cursor"),
        ],
        "responses": {"200": _page("SuppressionList"), **_problems(*_KEYED, 422, 503)},
    }


def _suppress() -> Schema:
    return {
        "operationId": "suppress",
        "summary": "Put numbers on the list of those that opted out",
        "description": "From the answer on no call to them begins, also of batches that are being sent: these numbers "
        "end `suppressed`.",
        **_suppressing("SuppressRequest", "Suppressed"),
    }


def _unsuppress() -> Schema:
    return {
        "operationId": "unsuppress",
        "summary": "Take numbers off that list",
        **_suppressing("UnsuppressRequest", "Unsuppressed"),
    }


def _suppressing(model: str, answer: str) -> Schema:
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema(model)}}},
        "responses": {"200": _json("Done", answer), **_problems(400, *_KEYED, 408, 413, 415, 422, 503)},
    }


def _events() -> Schema:
    stream = {"description": "The batch, at every change", "content": {"text/event-stream": {"schema": TEXT}}}
    done = {"description": "The event of `Last-Event-ID` was the last one"}
    last_event_id = {"name": "Last-Event-ID", "in": "header", "schema": TEXT}
    return {
        "operationId": "followBatch",
        "summary": "Server-sent events of a batch's counts, until all are final",
        "parameters": [last_event_id],
        "responses": {"200": stream, "204": done, **_problems(*_KEYED, 404, 503)},
    }


def _parameters() -> Schema:
    key = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"}
    return {
        "batch_id": {"name": "batch_id", "in": "path", "required": True, "schema": {"type": "string"}},
        "cursor": {"name": "cursor", "in": "query", "schema": TEXT, "description": "The last page's `next_cursor`"},
        "idempotency_key": {"name": "Idempotency-Key", "in": "header", "schema": key},
        "accept_language": {"name": "Accept-Language", "in": "header", "schema": TEXT},
    }


def _limit(default: int, greatest: int) -> Schema:
    number = {"type": "integer", "minimum": 1, "maximum": greatest, "default": default}
    return {"name": "limit", "in": "query", "schema": number}


def _accepted(kept: str) -> Schema:
    answer = _json(kept, "Accepted")
    answer["headers"] = {"Location": {"description": "Where the batch is", "schema": TEXT}}
    return {"202": answer, **_problems(400, *_KEYED, 408, 409, 413, 415, 422, 503)}


def _page(model: str) -> Schema:
    link = {"description": 'The next page, as `rel="next"`', "schema": TEXT}
    return {**_json("A page", model), "headers": {"Link": link}}


def _problems(*statuses: int) -> Schema:
    content = {CONTENT_TYPE: {"schema": schema("Problem")}}
    return {str(status): {"description": _PROBLEMS[status], "content": content} for status in statuses}


def _json(description: str, model: str) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema(model)}}}


def _ref(place: str) -> Schema:
    return {"$ref": f"#/components/{place}"}
