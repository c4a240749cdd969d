"""Routes of agents' state: look at it, copy it, try a copy, remove one. Parse, ask the service, show."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi import Path as PathParam
from fastapi.responses import FileResponse

from agent_servicing.core.state import SavedState, SetAsideState
from agent_servicing.services.access import Role
from agent_servicing.services.states import AgentStateView
from agent_servicing.web.auth import Caller, needs
from agent_servicing.web.context import Context
from agent_servicing.web.schemas.queries import SEQ_MAX, ReasonQuery
from agent_servicing.web.schemas.states import (
    BroughtView,
    DiscardBody,
    SetAsideView,
    SnapshotBegunView,
    SnapshotBody,
    SnapshotView,
    StateView,
    UnpackedView,
)
from agent_servicing.web.views.written import set_aside_fields

_RECORD = '{"id": "memories.db/memories/7", "schema": 2, "place": "memories.db/memories", "change": "added", "value": {"text": "hello"}}\n'

router = APIRouter(tags=["State"])

Epoch = Annotated[int, PathParam(ge=0, le=SEQ_MAX)]
Why = Annotated[ReasonQuery, Query()]


@router.get("/agents/{agent_id}/state", summary="Show the state", **needs(Role.VIEWER))
async def show_state(context: Context, agent_id: str) -> StateView:
    """What the agent keeps, whether one can come back to each rollback point with it, and the snapshots there are."""
    return _state(await context.services.states.show(agent_id))


@router.post("/agents/{agent_id}/state/snapshots", summary="Take a snapshot", status_code=202, **needs(Role.OPERATOR))
async def take_snapshot(context: Context, caller: Caller, agent_id: str, body: SnapshotBody) -> SnapshotBegunView:
    """Copy the state while the agent goes on serving. It is listed once it was read back, and stays until somebody removes it."""
    return SnapshotBegunView(snapshot=await context.services.states.snapshot(agent_id, reason=body.reason, actor=caller.name))


@router.post("/agents/{agent_id}/state/snapshots/{snapshot}/rehearse", summary="Rehearse a restore", **needs(Role.OPERATOR))
async def rehearse_snapshot(context: Context, caller: Caller, agent_id: str, snapshot: str) -> SnapshotView:
    """Restore it into a scratch folder, check every hash and every database, and throw that away. Answers when it is done."""
    return _snapshot(await context.services.states.rehearse(agent_id, snapshot, actor=caller.name))


@router.post("/agents/{agent_id}/state/snapshots/{snapshot}/unpack", summary="Unpack a snapshot", **needs(Role.OPERATOR))
async def unpack_snapshot(context: Context, caller: Caller, agent_id: str, snapshot: str, query: Why) -> UnpackedView:
    """Restore it into a folder beside the state, which stays untouched, to put back by hand or to look into. Answers when it is done."""
    return UnpackedView(folder=await context.services.states.unpack(agent_id, snapshot, actor=caller.name, reason=query.reason))


@router.post("/agents/{agent_id}/state/snapshots/{snapshot}/bring", summary="Bring back an export", **needs(Role.OPERATOR))
async def bring_snapshot(context: Context, caller: Caller, agent_id: str, snapshot: str, body: SnapshotBody) -> BroughtView:
    """Offer what the agent itself had exported for this snapshot (a store of kind `http`) to the version that serves. Answers when it is done."""
    taken, refused = await context.services.states.bring(agent_id, snapshot, reason=body.reason, actor=caller.name)
    return BroughtView(taken=taken, refused=refused)


@router.get(
    "/agents/{agent_id}/state/set-aside/{epoch}/records",
    summary="Export what was set aside",
    response_class=FileResponse,
    responses={
        200: {
            "content": {"application/x-ndjson": {"example": _RECORD}},
            "description": "One record a line: id, schema, place, change, value",
        }
    },
    **needs(Role.OPERATOR),
)
async def export_set_aside(context: Context, caller: Caller, agent_id: str, epoch: Epoch) -> FileResponse:
    """Every record that was written since the snapshot which a rollback put back, those that were taken in since included."""
    path = await context.services.states.records(agent_id, epoch, actor=caller.name)
    return FileResponse(path, media_type="application/x-ndjson", filename=f"{agent_id}-set-aside-{epoch}.ndjson")


@router.post("/agents/{agent_id}/state/set-aside/{epoch}/offer", summary="Offer what was set aside", **needs(Role.OPERATOR))
async def offer_set_aside(context: Context, caller: Caller, agent_id: str, epoch: Epoch, query: Why) -> SetAsideView:
    """Offer it to the version that serves now, say after the next upgrade. What it takes in is not offered again. Answers when it is done."""
    return _set_aside(await context.services.states.offer(agent_id, epoch, actor=caller.name, reason=query.reason))


@router.delete("/agents/{agent_id}/state/set-aside/{epoch}", summary="Discard what was set aside", status_code=204, **needs(Role.OPERATOR))
async def discard_set_aside(context: Context, caller: Caller, agent_id: str, epoch: Epoch, body: DiscardBody) -> Response:
    """For good. The state folder that was left stays on the disk."""
    await context.services.states.discard(agent_id, epoch, reason=body.reason, actor=caller.name)
    return Response(status_code=204)


@router.delete("/agents/{agent_id}/state/snapshots/{snapshot}", summary="Remove a snapshot", status_code=204, **needs(Role.OPERATOR))
async def remove_snapshot(context: Context, caller: Caller, agent_id: str, snapshot: str, query: Why) -> Response:
    """For good, with everything on the disk that only it needed."""
    await context.services.states.remove(agent_id, snapshot, actor=caller.name, reason=query.reason)
    return Response(status_code=204)


def _state(view: AgentStateView) -> StateView:
    spec = view.spec
    return StateView.model_validate(
        {
            "agent_id": view.agent,
            "version": view.version,
            "directory": spec.directory if spec else None,
            "schema": spec.writes if spec else None,
            "epoch": view.epoch,
            "set_aside": [_set_aside(each) for each in view.set_aside],
            "stores": [asdict(store) for store in spec.stores] if spec else [],
            "ways_back": [asdict(way) for way in view.ways_back],
            "snapshots": [_snapshot(saved) for saved in view.snapshots],
        }
    )


def _set_aside(state: SetAsideState) -> SetAsideView:
    return SetAsideView.model_validate(set_aside_fields(state))


def _snapshot(saved: SavedState) -> SnapshotView:
    return SnapshotView.model_validate(asdict(saved))
