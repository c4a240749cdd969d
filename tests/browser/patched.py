"""An agent whose configuration can be changed while it runs, with a key of every kind."""

import json
import sys
import textwrap
from typing import Any

from tests.e2e.harness import Server, wait_for

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "timeout_seconds": {"type": "number", "minimum": 1, "maximum": 300, "default": 30, "description": "Longest wait for the model."},
        "model": {
            "enum": ["small", "large"],
            "default": "small",
            "description": "Which one answers.",
            "x-servicing-apply": "next-conversation",
        },
        "verbose": {"type": "boolean", "default": False},
        "prompt": {"type": "string", "default": "Be kind.\nBe short."},
        "workers": {"type": "integer", "minimum": 1, "default": 4, "x-servicing-apply": "restart"},
        "api_key": {"type": "string", "minLength": 8, "x-servicing-secret": True, "description": "Sent to the model."},
        "limits": {
            "type": "object",
            "description": "What one conversation may use.",
            "additionalProperties": False,
            "properties": {
                "most_tokens": {"type": "integer", "minimum": 1, "maximum": 100000, "default": 4000},
                "most_megabytes_mb": {"type": "integer", "default": 20},
            },
        },
        "tools": {"type": "array", "items": {"type": "string"}, "default": ["search"]},
    },
}

PROGRAM = textwrap.dedent("""
    from fastapi import FastAPI
    from servicing_sdk import ConfigRejected, Servicing

    servicing = Servicing()
    app = FastAPI(lifespan=servicing.lifespan)
    servicing.mount(app)

    @servicing.on_prepare
    def check(new, old):
        if new.get("timeout_seconds") == 13:
            raise ConfigRejected("timeout_seconds", "thirteen is bad luck")

    @app.get("/{rest:path}")
    def answer(rest: str):
        return {"config": servicing.config}
""")


def a_patchable_agent(server: Server, agent: str, *, instances: int = 3) -> None:
    """Added with its first of two versions, and every instance has said which configuration it uses."""
    source = server.folder / agent
    for version, rules in (("1.0.0", {}), ("1.1.0", {"retries": {"type": "integer", "default": 2}})):
        (source / version).mkdir(parents=True)
        (source / version / "program.py").write_text(PROGRAM)
        schema = {**SCHEMA, "properties": {**SCHEMA["properties"], **rules}}
        (source / version / "config.schema.json").write_text(json.dumps(schema))
    command = [sys.executable, "-m", "uvicorn", "program:app", "--host", "{host}", "--port", "{port}", "--no-access-log"]
    manifest = f"""
[agent]
id = "{agent}"
[source]
path = "{source}"
[run]
command = {json.dumps(command)}
instances = {instances}
[health]
path = "/healthz"
interval_seconds = 0.5
[config]
schema = "config.schema.json"
reload = "sdk"
"""
    added = server.post("/agents", {"manifest": manifest, "version": "1.0.0"}, expect=201)
    assert server.outcome(added["upgrade_id"], agent=agent)["status"] == "completed"
    wait_for("reports", lambda: {i["status"] for i in server.get(f"/agents/{agent}/config")["instances"]} == {"in_sync"})
