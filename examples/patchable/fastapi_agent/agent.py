"""A FastAPI agent whose configuration changes while it runs: the whole of it."""

from fastapi import FastAPI
from pydantic import BaseModel

from servicing_sdk import ConfigRejected, Servicing


class Settings(BaseModel):
    greeting: str = "Hello"


servicing = Servicing(config_model=Settings)
app = FastAPI(lifespan=servicing.lifespan)
servicing.mount(app)


@servicing.on_prepare
def check(new: Settings, old: Settings) -> None:
    if not new.greeting:
        raise ConfigRejected("greeting", "must say something")


@app.get("/")
async def greet(name: str = "world") -> dict[str, str]:
    return {"text": f"{servicing.config.greeting}, {name}!"}
