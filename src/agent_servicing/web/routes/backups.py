"""The route that gives the server's own data away as one file. Parse, ask the service, stream."""

from collections.abc import AsyncIterator
from typing import Any

import anyio
from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from agent_servicing.services.access import Role
from agent_servicing.services.backups import Wanted
from agent_servicing.web.auth import Caller, needs, require_agent
from agent_servicing.web.context import Context
from agent_servicing.web.idempotency import keep_file
from agent_servicing.web.schemas.backups import BackupBody

PIECE_BYTES = 256 * 1024

router = APIRouter(tags=["Backup"])

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The backup, a tar whose first member describes it; `servicing restore` reads it",
        "content": {"application/x-tar": {"schema": {"type": "string", "format": "binary"}, "example": "backup.json …"}},
    }
}


@router.post("/backup", summary="Take a backup", response_class=StreamingResponse, responses=_RESPONSES, **needs(Role.ADMIN))
async def take_backup(context: Context, caller: Caller, request: Request, body: BackupBody | None = None) -> StreamingResponse:
    """The server's own data at one moment, while everything goes on. It is complete and read back before its first byte is sent."""
    require_agent(caller, None)
    keep_file(request)
    wanted = Wanted(key=body.with_key, state=body.with_state) if body is not None else Wanted()
    async with context.services.backups.taking(wanted, actor=caller.name) as taken:
        # Deleted as soon as it is open: whatever becomes of this request, nothing is left on the disk.
        file, size = await anyio.open_file(taken.path, "rb"), taken.path.stat().st_size
    headers = {
        "Content-Disposition": f'attachment; filename="servicing-{taken.about.created_at:%Y%m%dT%H%M%SZ}.backup"',
        "Content-Length": str(size),
    }
    return StreamingResponse(_pieces(file), media_type="application/x-tar", headers=headers)


async def _pieces(file: anyio.AsyncFile[bytes]) -> AsyncIterator[bytes]:
    async with file:
        while piece := await file.read(PIECE_BYTES):
            yield piece
