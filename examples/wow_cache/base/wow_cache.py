"""WowCache: keeps values under keys for a while, in the memory of each process. A miss is an answer, not an error."""

import json
import logging
import os
from pathlib import Path

from entries import Entries
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field, JsonValue

VERSION = (Path(__file__).parent / "VERSION").read_text().strip()
DEFAULTS = {"max_entries": 10_000, "ttl_seconds": 60}


def configuration() -> dict:
    """The configuration file given to this instance over the defaults."""
    file = Path(os.environ.get("SERVICING_CONFIG_FILE", "config.json"))
    return DEFAULTS | (json.loads(file.read_text()) if file.is_file() else {})


CONFIG = configuration()
entries = Entries(CONFIG["max_entries"])
app = FastAPI(title="WowCache", version=VERSION)


class Value(BaseModel):
    value: JsonValue
    ttl: float = Field(default=CONFIG["ttl_seconds"], gt=0, le=86_400)


@app.exception_handler(LookupError)
async def entry_lost(request: Request, error: LookupError) -> JSONResponse:
    """An entry that should be there is not: say so in the log and to the caller, and serve on."""
    logging.getLogger("wow_cache").error("%s %s failed", request.method, request.url.path, exc_info=error)
    return JSONResponse({"error": "the entry is lost"}, status_code=500)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/version")
async def version() -> dict[str, str]:
    return {"agent": "WowCache", "version": VERSION}


@app.put("/cache/{key}")
async def put(key: str, body: Value) -> dict:
    entries.put(key, body.value, body.ttl)
    return {"key": key, "ends_in_seconds": body.ttl}


@app.get("/cache/{key}")
async def get(key: str) -> dict:
    found = entries.get(key)
    if found is None:
        return {"key": key, "hit": False}
    value, seconds = found
    return {"key": key, "hit": True, "value": value, "ends_in_seconds": round(seconds, 3)}
