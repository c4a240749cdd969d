"""Files that arrive in requests: a form with one file, or a plain body with the rest in the query. The routes of versions call it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from pydantic import ValidationError
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from agent_servicing.core.errors import FieldError, Invalid
from agent_servicing.services.custom_patches import PatchWish
from agent_servicing.web.schemas.queries import UploadQuery

FILE_FIELD: Final = "file"
CHUNK_BYTES: Final = 256 * 1024
FIELDS_MAX: Final = 100
FIELD_BYTES_MAX: Final = 64 * 1024

_FORM: Final[dict[str, Any]] = {
    "type": "object",
    "required": [FILE_FIELD, "reason"],
    "properties": {
        FILE_FIELD: {"type": "string", "format": "binary"},
        **{name: {"type": "string"} for name in ("base_version", "reason", "summary")},
        "changelog": {"type": "array", "items": {"type": "string"}},
        **{name: {"type": "boolean"} for name in ("security", "critical")},
    },
}
_DIFF: Final = "--- a/store.py\n+++ b/store.py\n@@ -1 +1 @@\n-LIMIT = 10\n+LIMIT = 5\n"


def upload_operation(route: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a route that takes a file, with its body described."""
    form = {
        "schema": _FORM,
        "example": {FILE_FIELD: _DIFF, "base_version": "1.2.5", "reason": "leaks above 5 GB", "changelog": ["fix: a leak"]},
    }
    plain = {"schema": {"type": "string", "format": "binary"}}
    content = {
        "multipart/form-data": form,
        "text/x-diff": {**plain, "example": _DIFF},
        "application/octet-stream": {**plain, "example": _DIFF},
    }
    return {**route, "openapi_extra": {**route["openapi_extra"], "requestBody": {"required": True, "content": content}}}


@asynccontextmanager
async def uploaded(request: Request, query: UploadQuery) -> AsyncIterator[tuple[PatchWish, AsyncIterator[bytes]]]:
    """What was said about the file, and the file piece by piece. A form's file waits on the disk, a plain body is passed on as it arrives.

    Raises Invalid `bad_form`, `invalid_request`.
    """
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        yield _wish(query, query.file_name), request.stream()
        return
    parser = MultiPartParser(request.headers, _stream(request), max_files=1, max_fields=FIELDS_MAX, max_part_size=FIELD_BYTES_MAX)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeError) as error:
        raise Invalid(f"The form cannot be read: {getattr(error, 'message', error)}", code="bad_form") from error
    try:
        file = form.get(FILE_FIELD)
        if not isinstance(file, UploadFile):
            problem = FieldError(path=FILE_FIELD, message="is required, as a file")
            raise Invalid("The form holds no file.", errors=(problem,), code="bad_form")
        fields = _fields(form.multi_items(), query)
        yield _wish(fields, fields.file_name or file.filename or ""), _chunks(file)
    finally:
        await form.close()


def _fields(items: list[tuple[str, UploadFile | str]], query: UploadQuery) -> UploadQuery:
    """The form's fields on top of the query's."""
    said: dict[str, Any] = query.model_dump(exclude_unset=True)
    texts = [(name, value) for name, value in items if isinstance(value, str)]
    said |= dict(texts)
    lines = [value for name, value in texts if name == "changelog"]
    if lines:
        said["changelog"] = lines
    try:
        return UploadQuery.model_validate(said)
    except ValidationError as error:
        problems = tuple(FieldError(path=".".join(map(str, e["loc"])), message=e["msg"]) for e in error.errors(include_url=False))
        raise Invalid("The form has fields that cannot be used.", errors=problems, code="bad_form") from None


def _wish(said: UploadQuery, file_name: str) -> PatchWish:
    return PatchWish(
        file_name=file_name,
        base_version=said.base_version,
        reason=said.reason,
        summary=said.summary,
        changelog=tuple(said.changelog),
        security=said.security,
        critical=said.critical,
    )


async def _stream(request: Request) -> Any:
    async for chunk in request.stream():
        yield chunk


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(CHUNK_BYTES):
        yield chunk
