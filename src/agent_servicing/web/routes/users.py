"""Routes of users. Parse, ask the service, show."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from agent_servicing.services.access import Role
from agent_servicing.services.users import Rights, User
from agent_servicing.web.auth import Caller, needs, require_agent
from agent_servicing.web.context import Context
from agent_servicing.web.idempotency import keep_secret
from agent_servicing.web.paging import page_after
from agent_servicing.web.routes.session import link_view
from agent_servicing.web.schemas.queries import PageQuery
from agent_servicing.web.schemas.session import LinkView
from agent_servicing.web.schemas.users import ChangeUserBody, CreateUserBody, PasswordBody, SignedOut, UserList, UserView

router = APIRouter(tags=["Users"], prefix="/users")


@router.get("", summary="List users", **needs(Role.ADMIN))
async def list_users(context: Context, caller: Caller, query: Annotated[PageQuery, Query()]) -> UserList:
    """All people by name, disabled ones included."""
    require_agent(caller, None)
    views = [_view(user) for user in await context.services.users.list()]
    page, cursor = page_after(views, lambda view: view.user_id, query)
    return UserList(users=page, next_cursor=cursor)


@router.post("", summary="Add a user", status_code=201, **needs(Role.ADMIN))
async def add_user(context: Context, caller: Caller, body: CreateUserBody) -> UserView:
    """Without a password the user comes in by a one-time link (`POST /users/{user}/link`) and sets one there."""
    require_agent(caller, None)
    rights = Rights(role=Role(body.role), agents=body.agents, grants={agent: Role(role) for agent, role in body.grants.items()})
    return _view(await context.services.users.create(body.name, rights, password=body.password, actor=caller.name))


@router.get("/{user}", summary="Show a user", **needs(Role.ADMIN))
async def show_user(context: Context, caller: Caller, user: str) -> UserView:
    """One person, by id or name."""
    require_agent(caller, None)
    return _view(await context.services.users.get(user))


@router.patch("/{user}", summary="Change what a user may", **needs(Role.ADMIN))
async def change_user(context: Context, caller: Caller, user: str, body: ChangeUserBody) -> UserView:
    """From the next request on. The last admin stays one."""
    require_agent(caller, None)
    now = await context.services.users.get(user)
    agents = None if body.all_agents else now.agents if body.agents is None else frozenset(body.agents)
    grants = now.grants if body.grants is None else {agent: Role(role) for agent, role in body.grants.items()}
    rights = Rights(role=Role(body.role) if body.role else now.role, agents=agents, grants=grants)
    return _view(await context.services.users.change(user, rights, actor=caller.name))


@router.post("/{user}/disable", summary="Disable a user", **needs(Role.ADMIN))
async def disable_user(context: Context, caller: Caller, user: str) -> UserView:
    """Signed out everywhere, and not let in again. The name stays taken, because the audit trail refers to it."""
    require_agent(caller, None)
    return _view(await context.services.users.disable(user, actor=caller.name))


@router.post("/{user}/enable", summary="Enable a user", **needs(Role.ADMIN))
async def enable_user(context: Context, caller: Caller, user: str) -> UserView:
    """Takes back `disable`."""
    require_agent(caller, None)
    return _view(await context.services.users.enable(user, actor=caller.name))


@router.put("/{user}/password", summary="Set a user's password", **needs(Role.ADMIN))
async def set_password(context: Context, caller: Caller, user: str, body: PasswordBody) -> UserView:
    """For who has forgotten it; signed out everywhere. A one-time link is better: nobody else ever knows the password then."""
    require_agent(caller, None)
    return _view(await context.services.users.set_password(user, body.password, actor=caller.name))


@router.post("/{user}/link", summary="Make a one-time sign-in link for a user", status_code=201, **needs(Role.ADMIN))
async def make_link(context: Context, caller: Caller, user: str, request: Request) -> LinkView:
    """Good once, for 15 minutes. Who comes in by it may set a new password without knowing the old one."""
    require_agent(caller, None)
    keep_secret(request)
    return link_view(context, request, await context.services.sign_in.link_for(user, actor=caller.name))


@router.delete("/{user}/sessions", summary="Sign a user out everywhere", **needs(Role.ADMIN))
async def sign_out_user(context: Context, caller: Caller, user: str) -> SignedOut:
    """All of the user's browsers and unused links."""
    require_agent(caller, None)
    return SignedOut(user=user, sessions_ended=await context.services.sign_in.sign_out_user(user, actor=caller.name))


def _view(user: User) -> UserView:
    return UserView(
        user_id=user.user_id,
        name=user.name,
        role=user.role,
        agents=None if user.agents is None else sorted(user.agents),
        grants={agent: role.value for agent, role in sorted(user.grants.items())},
        status="active" if user.disabled_at is None else "disabled",
        has_password=user.has_password,
        external=user.external,
        created_at=user.created_at,
        last_signed_in_at=user.signed_in_at,
        disabled_at=user.disabled_at,
    )
