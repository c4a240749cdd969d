"""The built web page (`ui/`, put into `web/static` by `hatch_build.py`): every address that is not one of ours leads to it, and it shows the rest.

Files with a hash in their name never change, so browsers may keep them for ever. The document itself is never kept: it names those files,
and every answer has a nonce of its own, without which the policy lets no style of the page's libraries through.
"""

import mimetypes
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from starlette.responses import HTMLResponse, Response

from agent_servicing.ports import Ids

STATIC: Final = Path(str(resources.files("agent_servicing.web"))) / "static"
NONCE: Final = "__CSP_NONCE__"
FOR_EVER: Final = "public, max-age=31536000, immutable"
AN_HOUR: Final = "public, max-age=3600"

POLICY: Final = (
    "default-src 'none'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self'; "
    "script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self' data:; font-src 'self'; connect-src 'self'; "
    "manifest-src 'self'; worker-src 'self'"
)


class Page:
    """The built page in a folder; `there` tells whether it was built at all."""

    def __init__(self, ids: Ids, folder: Path = STATIC) -> None:
        self._ids = ids
        self._folder = folder
        self._files: Mapping[str, Path] = _files(folder)

    @property
    def there(self) -> bool:
        return "index.html" in self._files

    def document(self) -> Response:
        """The document, with a fresh nonce in its text and in its policy. Only for a page that is there."""
        nonce = self._ids.token()
        text = self._files["index.html"].read_text("utf-8").replace(NONCE, nonce)
        return HTMLResponse(text, headers={"Content-Security-Policy": POLICY.format(nonce=nonce), "Cache-Control": "no-cache"})

    def file(self, name: str) -> Response | None:
        """One of the page's files, None for any other name: only what was there at the start can be asked for, so no path leads elsewhere."""
        found = self._files.get(name)
        if found is None or name == "index.html":
            return None
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        kept = FOR_EVER if name.startswith("assets/") else AN_HOUR
        return Response(found.read_bytes(), media_type=media_type, headers={"Cache-Control": kept})


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        return {}
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
