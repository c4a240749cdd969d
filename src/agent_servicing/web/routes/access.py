"""Routes of tokens. Parse, ask the service, show."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from agent_servicing.services.access import Role, TokenInfo
from agent_servicing.web.auth import Caller, needs, require_agent
from agent_servicing.web.context import Context
from agent_servicing.web.idempotency import keep_secret
from agent_servicing.web.paging import page_after
from agent_servicing.web.schemas.access import CreateTokenBody, TokenCreated, TokenList, TokenView
from agent_servicing.web.schemas.queries import PageQuery

router = APIRouter(tags=["Access"])


@router.post("/tokens", summary="Create a token", status_code=201, **needs(Role.ADMIN))
async def create_token(context: Context, caller: Caller, body: CreateTokenBody, request: Request) -> TokenCreated:
    """A new token, shown this once: only its hash is kept."""
    require_agent(caller, None)
    keep_secret(request)
    token = await context.services.access.create_token(body.name, Role(body.role), body.agents, body.expires_at, actor=caller.name)
    return TokenCreated(token=token, name=body.name, role=body.role, agents=body.agents, expires_at=body.expires_at)


@router.get("/tokens", summary="List tokens", **needs(Role.ADMIN))
async def list_tokens(context: Context, caller: Caller, query: Annotated[PageQuery, Query()]) -> TokenList:
    """All tokens without their secrets, newest first, revoked ones included."""
    require_agent(caller, None)
    views = [_view(token) for token in await context.services.access.list_tokens()]
    page, cursor = page_after(views, lambda view: view.token_id, query)
    return TokenList(tokens=page, next_cursor=cursor)


@router.delete("/tokens/{token_id}", summary="Revoke a token", status_code=204, **needs(Role.ADMIN))
async def revoke_token(context: Context, caller: Caller, token_id: str) -> Response:
    """From the next request on it opens nothing; open WebSockets end within seconds."""
    require_agent(caller, None)
    await context.services.access.revoke_token(token_id, actor=caller.name)
    return Response(status_code=204)


def _view(token: TokenInfo) -> TokenView:
    fields = {name: getattr(token, name) for name in TokenView.model_fields if name not in {"agents", "role"}}
    return TokenView.model_validate({**fields, "role": token.role.value, "agents": _names(token.agents)})


def _names(agents: frozenset[str] | None) -> list[str] | None:
    return None if agents is None else sorted(agents)
