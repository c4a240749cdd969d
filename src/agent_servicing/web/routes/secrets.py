"""Routes of secrets: list, set, apply, remove. No answer holds a value, not even the one that was just given."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from agent_servicing.services.access import Principal, Role
from agent_servicing.services.secrets import SecretInfo
from agent_servicing.web.auth import Caller, needs, require_agent, require_role, sees
from agent_servicing.web.context import Context
from agent_servicing.web.paging import page_after
from agent_servicing.web.schemas.queries import PageQuery
from agent_servicing.web.schemas.secrets import (
    ApplySecretBody,
    SecretDeliveries,
    SecretDeliveryView,
    SecretList,
    SecretUseView,
    SecretVersionView,
    SecretView,
    SetSecretBody,
)

router = APIRouter(tags=["Secrets"])


@router.get("/secrets", summary="List secrets", **needs(Role.VIEWER))
async def list_secrets(context: Context, caller: Caller, query: Annotated[PageQuery, Query()]) -> SecretList:
    """Names, versions, fingerprints, who set them and which configurations need them: those of the agents this token reaches, and shared ones."""
    infos = [info for info in await context.services.secrets.list() if info.agent is None or sees(caller, info.agent)]
    page, cursor = page_after([_view(info, caller) for info in infos], lambda view: view.name, query)
    return SecretList(secrets=page, next_cursor=cursor)


@router.put("/secrets/{name:path}", summary="Set a secret", **needs(Role.OPERATOR))
async def set_secret(context: Context, caller: Caller, name: str, body: SetSecretBody) -> SecretView:
    """A new version of this secret, or a new secret. Configurations go on with the version they refer to until it is applied.

    A secret belongs to one agent, for which an operator may set it, or is shared by all, which takes an admin. What it belongs to does not
    change; `agent` may be omitted for a secret that is there.
    """
    known = await context.services.secrets.find(name)
    owner = known.agent if known is not None and body.agent is None else body.agent
    _require_owner(caller, owner)
    await context.services.secrets.set(name, body.value.get_secret_value(), agent=owner, actor=caller.name)
    return _view(await context.services.secrets.get(name), caller)


@router.post("/secrets/{name:path}/apply", summary="Bring a secret's newest version to its agents", **needs(Role.OPERATOR))
async def apply_secret(context: Context, caller: Caller, name: str, body: ApplySecretBody) -> SecretDeliveries:
    """Each agent in reach that uses an older version gets the newest by a hot patch; those that cannot are named with the reason.

    It is the same as changing the reference by hand: acknowledged by the instances, taken back where one refuses, in the history of each agent.
    """
    _require_owner(caller, (await context.services.secrets.get(name)).agent)
    info, deliveries = await context.services.secret_delivery.apply(
        name, actor=caller.name, reason=body.reason, restart=body.restart, reaches=lambda agent: sees(caller, agent)
    )
    views = [
        SecretDeliveryView(agent_id=d.agent, status=d.status, config_version=d.config_version, reason=d.reason, code=d.code)
        for d in deliveries
    ]
    return SecretDeliveries(name=name, version=info.newest.version, deliveries=views)


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
    uses = [
        SecretUseView(agent_id=use.agent, revision=use.revision, version=use.version, in_force=use.in_force)
        for use in info.used_by
        if sees(caller, use.agent)
    ]
    return SecretView(name=info.name, agent_id=info.agent, versions=versions, used_by=uses, **versions[0].model_dump())
