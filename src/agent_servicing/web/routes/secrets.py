"""Routes of secrets: list, set, remove. No answer holds a value, not even the one that was just given."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from agent_servicing.services.access import Principal, Role
from agent_servicing.services.secrets import SecretInfo
from agent_servicing.web.auth import Caller, needs, require_agent, require_role, sees
from agent_servicing.web.context import Context
from agent_servicing.web.paging import page_after
from agent_servicing.web.schemas.queries import PageQuery
from agent_servicing.web.schemas.secrets import SecretList, SecretUseView, SecretVersionView, SecretView, SetSecretBody

router = APIRouter(tags=["Secrets"])


@router.get("/secrets", summary="List secrets", **needs(Role.VIEWER))
async def list_secrets(context: Context, caller: Caller, query: Annotated[PageQuery, Query()]) -> SecretList:
    """Names, versions, fingerprints, who set them and which configurations need them: those of the agents this token reaches, and shared ones."""
    infos = [info for info in await context.services.secrets.list() if info.agent is None or sees(caller, info.agent)]
    page, cursor = page_after([_view(info, caller) for info in infos], lambda view: view.name, query)
    return SecretList(secrets=page, next_cursor=cursor)


@router.put("/secrets/{name:path}", summary="Set a secret", **needs(Role.OPERATOR))
async def set_secret(context: Context, caller: Caller, name: str, body: SetSecretBody) -> SecretView:
    """A new version of this secret, or a new secret. Configurations go on with the version they refer to.

    A secret belongs to one agent, for which an operator may set it, or is shared by all, which takes an admin. What it belongs to does not
    change; `agent` may be omitted for a secret that is there.
    """
    known = await context.services.secrets.find(name)
    owner = known.agent if known is not None and body.agent is None else body.agent
    _require_owner(caller, owner)
    await context.services.secrets.set(name, body.value.get_secret_value(), agent=owner, actor=caller.name)
    return _view(await context.services.secrets.get(name), caller)


@router.delete("/secrets/{name:path}", summary="Remove a secret", status_code=204, **needs(Role.OPERATOR))
async def remove_secret(context: Context, caller: Caller, name: str) -> Response:
    """All of its versions, for good. Refused while a configuration that is in force, or that a rollback would bring back, needs it."""
    _require_owner(caller, (await context.services.secrets.get(name)).agent)
    await context.services.secrets.remove(name, actor=caller.name)
    return Response(status_code=204)


def _require_owner(caller: Principal, owner: str | None) -> None:
    if owner is None:
        require_role(caller, Role.ADMIN)
    require_agent(caller, owner)


def _view(info: SecretInfo, caller: Principal) -> SecretView:
    versions = [SecretVersionView.model_validate(version) for version in info.versions]
    uses = [SecretUseView(agent_id=u.agent, revision=u.revision, version=u.version) for u in info.used_by if sees(caller, u.agent)]
    return SecretView(name=info.name, agent_id=info.agent, versions=versions, used_by=uses, **versions[0].model_dump())
