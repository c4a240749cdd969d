"""The HTTP and WebSocket application. `bootstrap` calls `create_app` with the services and what tells whether the server is ready."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from starlette.middleware import Middleware

from agent_servicing import __version__
from agent_servicing.ports import Clock, EventBus, Ids, InstanceLink
from agent_servicing.services.all import Services
from agent_servicing.settings import Settings
from agent_servicing.web import live, pages
from agent_servicing.web.answers import AnswersMiddleware
from agent_servicing.web.auth import AuthMiddleware
from agent_servicing.web.context import Check, EngineStats, WebContext
from agent_servicing.web.idempotency import IdempotencyMiddleware
from agent_servicing.web.limits import MAX_BODY_BYTES
from agent_servicing.web.link_shortcut import LinkShortcut
from agent_servicing.web.middleware import BodyLimitMiddleware, ObserveMiddleware
from agent_servicing.web.openapi import describe
from agent_servicing.web.page import Page
from agent_servicing.web.problems import add_problem_handlers
from agent_servicing.web.prometheus import Exporter
from agent_servicing.web.rates import RateMiddleware
from agent_servicing.web.routes import (
    access,
    agents,
    analysis,
    approvals,
    audit,
    backups,
    config,
    flags,
    health,
    issues,
    link,
    notification_settings,
    notifications,
    oidc,
    queue,
    reports,
    schedule,
    secrets,
    session,
    staging,
    states,
    thresholds,
    upgrades,
    users,
    versions,
)

PREFIX: Final = "/api/platform"

MODULES: Final = (
    link,
    agents,
    versions,
    upgrades,
    approvals,
    analysis,
    config,
    queue,
    schedule,
    reports,
    secrets,
    staging,
    thresholds,
    states,
    audit,
    access,
    session,
    oidc,
    users,
    notifications,
    notification_settings,
    issues,
    backups,
)
"""The link first: routes are tried one after the other, and its are asked for far more often than all others together."""


class ServicingApi(FastAPI):
    """FastAPI with our own API description."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            self.openapi_schema = describe(self)
        return self.openapi_schema


def create_app(
    services: Services,
    *,
    settings: Settings,
    clock: Clock,
    ids: Ids,
    bus: EventBus,
    readiness: Mapping[str, Check] | None = None,
    engine: Callable[[], EngineStats] | None = None,
    instance_link: InstanceLink | None = None,
    page: Page | None = None,
) -> FastAPI:
    """The application over these services. `readiness` maps a part's name to a check that raises while it is not alive; `engine` gives
    its numbers for `/metrics`; `instance_link` is where instances connect to; `page` is the built one unless told otherwise. Opens and closes
    nothing: the services live as long as their maker wants.
    """
    context = WebContext(
        services=services,
        settings=settings,
        clock=clock,
        ids=ids,
        bus=bus,
        version=__version__,
        readiness=readiness or {},
        engine=engine,
        link=instance_link,
    )
    app = ServicingApi(
        title="Agent Servicing",
        summary="Zero-downtime upgrades and rollbacks of running agents",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Outermost first: every answer gets its headers, nobody unknown gets further than the third, keys belong to a known token.
        middleware=[
            Middleware(ObserveMiddleware, context=context),
            Middleware(BodyLimitMiddleware, upload_bytes=settings.upload_bytes_max + MAX_BODY_BYTES),
            Middleware(AuthMiddleware, context=context),
            Middleware(RateMiddleware, context=context),
            Middleware(LinkShortcut, context=context),
            Middleware(AnswersMiddleware, context=context),
            Middleware(IdempotencyMiddleware, context=context),
        ],
    )
    app.state.context, app.state.exporter, app.state.live, app.state.page = context, Exporter(context), live.LiveCount(), page or Page(ids)
    add_problem_handlers(app)
    api = APIRouter(prefix=PREFIX)
    for module in MODULES:
        api.include_router(module.router)
    for router in (api, flags.router, health.router, pages.router, live.router):
        app.include_router(router)
    return app
