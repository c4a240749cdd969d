"""A FastAPI agent that can be patched while it runs: `uvicorn fastapi_agent:app`."""

from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from servicing_sdk import ConfigRejected, Servicing


class Settings(BaseModel):
    greeting: str = "Hello"
    words: int = Field(default=3, gt=0, le=100)


servicing = Servicing(config_model=Settings)
app = FastAPI(lifespan=servicing.lifespan)
servicing.mount(app)


@servicing.on_prepare
def check(new: Settings, old: Settings) -> None:
    """Asked before anybody uses it; changes nothing."""
    if not new.greeting.strip():
        raise ConfigRejected("greeting", "somebody must be greeted")


@app.get("/")
async def greet() -> dict[str, str]:
    return {"said": servicing.config.greeting}


@app.get("/stream")
async def stream() -> StreamingResponse:
    """Counted as a stream; when the instance has to go, clients are told to come back."""
    return StreamingResponse(servicing.sse(words()), media_type="text/event-stream")


async def words() -> AsyncIterator[bytes]:
    for _ in range(servicing.config.words):
        yield f"data: {servicing.config.greeting}\n\n".encode()
