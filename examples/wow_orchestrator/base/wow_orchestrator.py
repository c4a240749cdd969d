"""WowOrchestrator: runs a task by asking the other agents through the data plane, and streams ticks to whoever listens."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import quote

import anyio
import httpx
from fastapi import FastAPI, Header, HTTPException, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from servicing_sdk import Servicing

VERSION = (Path(__file__).parent / "VERSION").read_text().strip()
ROUTER_URL = os.environ.get("SERVICING_ROUTER_URL", "http://127.0.0.1:8800")
LONGEST_STREAM_SECONDS = 600


class Settings(BaseModel):
    """The configuration; an empty router address means the one in the environment."""

    router_url: str = ""
    step_timeout_seconds: float = Field(default=5, gt=0, le=300)
    model: str = Field(default="small", pattern="^(small|large)$")
    api_key: str = ""


servicing = Servicing(config_model=Settings)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with httpx.AsyncClient(base_url=servicing.config.router_url or ROUTER_URL, trust_env=False) as http, servicing.lifespan(app):
        app.state.http = http
        yield


app = FastAPI(title="WowOrchestrator", version=VERSION, lifespan=lifespan)
servicing.mount(app)
Conversation = Annotated[str, Header(alias="X-Conversation-Id", max_length=200)]


class Task(BaseModel):
    text: str = Field(max_length=10_000)
    name: str = Field(default="green-sea.org", min_length=1, max_length=253)


@dataclass(frozen=True, slots=True)
class Step:
    """One request to another agent."""

    agent: str
    method: str
    path: str
    json: object = None


def steps(task: Task) -> list[Step]:
    """What a task consists of."""
    return [
        Step("WowMemory", "POST", "/remember", {"text": task.text}),
        Step("WowCache", "PUT", f"/cache/{quote(task.name, safe='')}", {"value": task.text}),
        Step("WowDomain", "GET", f"/check?name={quote(task.name, safe='')}"),
    ]


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/version")
async def version() -> dict[str, str]:
    return {"agent": "WowOrchestrator", "version": VERSION}


@app.post("/run")
async def run(task: Task, conversation: Conversation = "") -> dict:
    results = {}
    for step in steps(task):
        results[step.agent] = await ask(step, conversation)
    return {"results": results}


async def ask(step: Step, conversation: str) -> dict:
    """What the agent answered; an agent that cannot be reached is part of the answer, not a failure of the run."""
    settings = servicing.config
    headers = {"X-Conversation-Id": conversation} if conversation else {}
    headers["X-Model"] = settings.model
    if settings.api_key:
        headers["X-Api-Key"] = settings.api_key
    try:
        answer = await app.state.http.request(
            step.method, f"/{step.agent}{step.path}", json=step.json, headers=headers, timeout=settings.step_timeout_seconds
        )
    except httpx.TimeoutException as error:
        raise HTTPException(504, "the workflow timed out") from error
    except httpx.HTTPError as error:
        return {"error": type(error).__name__}
    return {"status": answer.status_code, "served_by": answer.headers.get("X-Served-By", "")}


@app.get("/stream")
async def stream(
    seconds: Annotated[float, Query(gt=0, le=LONGEST_STREAM_SECONDS)] = 5, interval: Annotated[float, Query(ge=0.01, le=60)] = 0.5
) -> StreamingResponse:
    return StreamingResponse(servicing.sse(ticks(seconds, interval)), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def ticks(seconds: float, interval: float) -> AsyncIterator[bytes]:
    """Server-sent events: `tick` at each interval, `end` when the time is over."""
    count = max(1, round(seconds / interval))
    for number in range(1, count + 1):
        yield f"event: tick\ndata: {number}\n\n".encode()
        await anyio.sleep(interval)
    yield f"event: end\ndata: {count}\n\n".encode()
