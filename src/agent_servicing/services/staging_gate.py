"""The gate before production: asked by the plan of an upgrade, so that dry run and request cannot differ."""

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.semver import try_parse
from agent_servicing.core.staging.verdict import gate_refusal
from agent_servicing.services.requests import UpgradeRequest
from agent_servicing.services.views import Refusal
from agent_servicing.store.staging import gate_of, newest_run


async def why_shut(connection: AsyncConnection, agent: str, version: str, now: datetime) -> str | None:
    """Why this version may not go to production yet, None when it may."""
    gate, parsed = await gate_of(connection, agent), try_parse(version)
    if not gate.required or parsed is None:
        return None
    newest = await newest_run(connection, agent, str(parsed))
    return gate_refusal(gate, newest, agent=agent, version=str(parsed), now=now)


def gate_refusals(request: UpgradeRequest, shut: str | None, agent: str) -> Iterator[Refusal]:
    if shut is not None and not request.override_staging:
        hint = f"Run servicing test {agent} {request.target_version} --watch first; an admin can pass with override_staging."
        yield Refusal(family="conflict", code="staging_required", message=f"{shut[:1].upper()}{shut[1:]}.", hint=hint)


def gate_warnings(request: UpgradeRequest, shut: str | None) -> Iterator[str]:
    if shut is not None and request.override_staging:
        yield f"It passes the staging gate although {shut}."
