"""The built web page (`ui/`, put into `web/static` by `hatch_build.py`): each of its addresses leads to one document, which shows the rest.

Files with a hash in their name never change, so browsers may keep them for ever. The document itself is never kept: it names those files,
and every answer has a nonce of its own, without which the policy lets no style of the page's libraries through.
"""

import gzip
import mimetypes
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Final

from starlette.responses import HTMLResponse, Response

from agent_servicing.ports import Ids

STATIC: Final = Path(str(resources.files("agent_servicing.web"))) / "static"
DOCUMENT: Final = "index.html"
NONCE: Final = "__CSP_NONCE__"
FOR_EVER: Final = "public, max-age=31536000, immutable"
AN_HOUR: Final = "public, max-age=3600"

COMPRESSED_FROM_BYTES: Final = 1024
"""Smaller files gain nothing."""

ADDRESSES: Final = re.compile(r"/((agents|audit|deployments|settings|sign-in)(/.*)?)?")
"""Where the page shows something: its own router tells what, also that there is no such thing."""

POLICY: Final = (
    "default-src 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self'; "
    "script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'"
)


@dataclass(frozen=True)
class File:
    """One file of the page, read once."""

    name: str
    content: bytes = field(repr=False)

    @cached_property
    def compressed(self) -> bytes:
        return gzip.compress(self.content, mtime=0)

    def response(self, *, accepts: str) -> Response:
        """`accepts` is what the browser says of encodings."""
        headers = {"Cache-Control": FOR_EVER if self.name.startswith("assets/") else AN_HOUR, "Vary": "Accept-Encoding"}
        media_type = mimetypes.guess_type(self.name)[0] or "application/octet-stream"
        if len(self.content) < COMPRESSED_FROM_BYTES or "gzip" not in accepts:
            return Response(self.content, media_type=media_type, headers=headers)
        return Response(self.compressed, media_type=media_type, headers={**headers, "Content-Encoding": "gzip"})


class Page:
    """The page built into a folder; a checkout without it has none, which `there` tells."""

    def __init__(self, ids: Ids, folder: Path = STATIC) -> None:
        self._ids = ids
        self._files = _files(folder)
        document = self._files.pop(DOCUMENT, None)
        self._document = document.content.decode() if document else None

    @property
    def there(self) -> bool:
        return self._document is not None

    def document(self) -> Response:
        """The document, with a fresh nonce in its text and in its policy."""
        nonce = self._ids.token()
        policy = POLICY.format(nonce=nonce)
        return HTMLResponse(
            (self._document or "").replace(NONCE, nonce), headers={"Content-Security-Policy": policy, "Cache-Control": "no-cache"}
        )

    def lost(self, method: str, path: str, accepts: str) -> Response | None:
        """For a person who followed an address that is not there: the document, whose router says so. None for programs, and without the page."""
        if not self.there or method != "GET" or "text/html" not in accepts or path.startswith(("/api/", "/assets/")):
            return None
        answer = self.document()
        answer.status_code = 404
        return answer

    def file(self, name: str) -> File | None:
        """One of its other files. Only what was there at the start can be asked for, so no name leads elsewhere."""
        return self._files.get(name)


def _files(folder: Path) -> dict[str, File]:
    found: Mapping[str, Path] = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: File(name, path.read_bytes()) for name, path in found.items()}
