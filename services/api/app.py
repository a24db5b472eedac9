"""The api's parts, wired: routes, middlewares, connections."""

import asyncio
from dataclasses import dataclass

from aiohttp import web

from services.api.batches.control import Control
from services.api.batches.events import Events
from services.api.batches.reading import Batches
from services.api.batches.resending import Resending
from services.api.dead_letters.handlers import DeadLetters
from services.api.declaring import Declaring
from services.api.documents.pages import documentation_routes
from services.api.intake.accepting import Broker, Intake, Limits
from services.api.intake.idempotency import Idempotency
from services.api.ledger import Ledger
from services.api.providers import Providers, ProviderTests
from services.api.receipts.handlers import Inbound, Receipts, VendorCalls
from services.api.serving.access import InFlight, access_middleware, sampled_refusals
from services.api.serving.auth import KeyedIds, auth_middleware
from services.api.serving.body_reader import BodyReader
from services.api.serving.cors import cors_middleware, mark_for_origin
from services.api.serving.peers import Places
from services.api.serving.problems import SERVER, problem_middleware
from services.api.settings import ApiSettings
from services.api.suppressions.handlers import Suppressions
from shared.amqp.confirming import ConfirmingPublisher
from shared.cache import Cache
from shared.dead_letters.handling import DeadLetterHandler
from shared.health import add_health_routes
from shared.ledger.clock import LedgerClock
from shared.ledger.database import Database
from shared.policy_watch import PolicyWatch
from shared.providers import Providers as Known
from shared.reloading import Reloading
from shared.statuses import Statuses

_NAME = "sms-api"
_UNDER_WAY_MARGIN_S = 2


@dataclass(frozen=True, slots=True)
class Parts:
    """What has to be run, drained and closed."""

    publisher: ConfirmingPublisher
    declaring: Declaring
    ledger: Ledger
    database: Database
    cache: Cache
    in_flight: InFlight
    letters: DeadLetterHandler
    policies: PolicyWatch
    clock: LedgerClock
    providers: Providers
    vendor_calls: VendorCalls
    reloading: Reloading


def build_parts(settings: ApiSettings) -> Parts:
    """Every connection of the service; none is opened yet."""
    declaring = Declaring(settings.amqp_url.get_secret_value(), settings.topology)
    database = Database(settings.database_url.get_secret_value())
    ledger = Ledger(database)
    providers = Providers(ledger, settings.all_providers)
    publisher = ConfirmingPublisher(
        settings.amqp_url.get_secret_value(), _NAME, app_id=_NAME, on_connected=declaring.declare_again
    )
    policies = PolicyWatch(settings)
    vendors = VendorCalls(Broker(publisher, declaring, policies), settings.public_url, settings.publish_timeout_s)
    vendors.use(settings.all_providers)

    async def reload(known: Known) -> None:
        vendors.use(known)
        await providers.use(known)

    return Parts(
        publisher=publisher,
        declaring=declaring,
        ledger=ledger,
        database=database,
        cache=Cache(settings.redis_address, settings.cache_secret),
        in_flight=InFlight(),
        letters=DeadLetterHandler(settings.amqp_url.get_secret_value(), database, f"{_NAME} dead letters"),
        policies=policies,
        clock=LedgerClock(database),
        providers=providers,
        vendor_calls=vendors,
        reloading=Reloading(settings, database, reload),
    )


def build_app(settings: ApiSettings, parts: Parts, stop: asyncio.Event) -> web.Application:
    """The application; `stop` ends its event streams."""
    refusals = sampled_refusals()
    app = web.Application(
        middlewares=[
            access_middleware(parts.in_flight, refusals),
            cors_middleware(settings.cors_origins),
            problem_middleware,
            auth_middleware(settings.api_keys, settings.cors_origins),
        ]
    )
    app.on_response_prepare.append(mark_for_origin(settings.cors_origins))
    app.on_response_prepare.append(_name_no_versions)

    async def tell_the_last_refusals(_app: web.Application) -> None:
        refusals.flush()

    app.on_cleanup.append(tell_the_last_refusals)
    checks = {
        "broker": lambda: parts.publisher.is_ready and parts.declaring.is_ready,
        "policies": lambda: parts.policies.lets_accept,
        "ledger": parts.ledger.check,
        "clock": parts.clock.check,
        "running": lambda: not stop.is_set(),
    }
    add_health_routes(app, checks)
    app.add_routes(_routes(settings, parts, stop))
    app.add_routes(documentation_routes(settings))
    return app


async def _name_no_versions(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = SERVER


def _routes(settings: ApiSettings, parts: Parts, stop: asyncio.Event) -> list[web.RouteDef]:
    under_way_ttl_s = settings.publish_timeout_s + _UNDER_WAY_MARGIN_S
    acceptances = Idempotency(parts.cache, parts.ledger, settings.idempotency_ttl_s, under_way_ttl_s)
    limits = Limits(settings.max_recipients, settings.all_providers.names, settings.publish_timeout_s)
    keyed_ids = KeyedIds(settings.api_keys)
    broker = Broker(parts.publisher, parts.declaring, parts.policies)
    intake = Intake(BodyReader(settings.max_body_bytes), acceptances, keyed_ids, broker, limits)
    batches = Batches(parts.ledger, acceptances, Statuses(parts.cache))
    control = Control(parts.ledger, batches)
    # Streams leave half of the connections to others, and a key's leave half of the streams to other keys.
    events = Events(batches, Places(settings.api_max_connections // 2, (settings.api_max_connections + 2) // 4), stop)
    dead_letters = DeadLetters(parts.ledger, parts.letters)
    suppressions = Suppressions(parts.ledger)
    doors = {"/v1/receipts": Receipts(parts.vendor_calls).take, "/v1/inbound": Inbound(parts.vendor_calls).take}
    one = "/v1/batches/{batch_id}"
    return [
        web.post("/v1/batches", intake.post_batch),
        web.post("/send-sms", intake.send_sms),
        web.post("/send-sms/", intake.send_sms),
        web.get("/v1/batches", batches.list_batches),
        web.get(one, batches.show_batch),
        web.get(f"{one}/messages", batches.list_messages),
        web.get(f"{one}/events", events.stream, allow_head=False),
        web.get(f"{one}/messages/{{row}}/attempts", dead_letters.list_attempts),
        web.get("/v1/provider", parts.providers.held),
        web.get("/v1/providers", parts.providers.list_all),
        web.post("/v1/providers/{name}/pause", parts.providers.pause),
        web.post("/v1/providers/{name}/resume", parts.providers.resume),
        web.post("/v1/providers/{name}/test", ProviderTests(parts.providers, intake).post),
        *(
            web.route(method, f"{path}/{{provider}}{secret}", take)
            for path, take in doors.items()
            for method in ("GET", "POST")
            for secret in ("", "/{secret}")
        ),
        web.get("/v1/suppressions", suppressions.list_all),
        web.post("/v1/suppressions", suppressions.add),
        web.post("/v1/suppressions/remove", suppressions.remove),
        web.get("/v1/dead-letters", dead_letters.list_failed),
        web.get("/v1/dead-letters/groups", dead_letters.count_failed),
        web.post("/v1/dead-letters/replay", dead_letters.replay),
        web.post("/v1/dead-letters/discard", dead_letters.discard),
        web.post(f"{one}/pause", control.pause),
        web.post(f"{one}/resume", control.resume),
        web.post(f"{one}/cancel", control.cancel),
        web.post(f"{one}/resend", Resending(parts.ledger, keyed_ids).post),
    ]
