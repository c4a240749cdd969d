"""WowDomain: says whether a text can be a domain name, what is wrong with it, and what to try instead. Keeps nothing."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query

VERSION = (Path(__file__).parent / "VERSION").read_text().strip()
DEFAULTS = {"endings": ["app", "com", "dev", "io", "net", "org"], "suggestions": 3}
LONGEST_NAME, LONGEST_LABEL = 253, 63
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")


def configuration() -> dict:
    """The configuration file given to this instance over the defaults."""
    file = Path(os.environ.get("SERVICING_CONFIG_FILE", "config.json"))
    return DEFAULTS | (json.loads(file.read_text()) if file.is_file() else {})


CONFIG = configuration()


def read_again(number: int, frame: object) -> None:
    """The file was rewritten."""
    CONFIG.update(configuration())


signal.signal(signal.SIGHUP, read_again)
app = FastAPI(title="WowDomain", version=VERSION)


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/version")
async def version() -> dict[str, str]:
    return {"agent": "WowDomain", "version": VERSION}


@app.get("/check")
async def check(name: Annotated[str, Query(min_length=1, max_length=400)]) -> dict:
    found = problems(name.lower())
    return {"name": name, "valid": not found, "problems": found, "suggestions": suggestions(name) if found else []}


def problems(name: str) -> list[str]:
    """Every reason why the name cannot be registered, none when it can."""
    labels = name.split(".")
    found = [] if len(name) <= LONGEST_NAME else [f"longer than {LONGEST_NAME} characters"]
    if len(labels) < 2:
        found.append("no ending such as .com")
    elif labels[-1] not in CONFIG["endings"]:
        found.append(f"unknown ending .{labels[-1]}")
    for label in labels:
        if len(label) > LONGEST_LABEL:
            found.append(f"a part is longer than {LONGEST_LABEL} characters")
        elif not LABEL.fullmatch(label):
            found.append(f"{label!r} may hold only letters, digits and inner hyphens")
    return found


def suggestions(name: str) -> list[str]:
    """Valid names near the wanted one."""
    stem = re.sub(r"[^a-z0-9]+", "-", name.lower().rpartition(".")[0] or name.lower())[:LONGEST_LABEL].strip("-")
    return [f"{stem}.{ending}" for ending in CONFIG["endings"][: CONFIG["suggestions"]]] if stem else []
