"""A whole server whose instances are pretended: services, SQLite, engine, channel and API are real; used by hot_patch.py in a process of its own.

Prints one JSON line with its address and the instances' tokens once all of them are ready, then serves until its input ends.
"""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import anyio
import uvicorn

from agent_servicing.adapters.config.channel import InstanceChannel
from agent_servicing.adapters.events.local import open_local
from agent_servicing.adapters.events.nats import open_nats
from agent_servicing.adapters.passwords import Argon2Passwords
from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.adapters.vault import Vault
from agent_servicing.bootstrap.serve import EVENT_LOOP, THREAD_SWITCH_SECONDS
from agent_servicing.core.limits import Limits
from agent_servicing.core.versions import SourceVersion
from agent_servicing.manifest import load_manifest
from agent_servicing.ports.outward import Outside
from agent_servicing.reconcile.engine import Engine
from agent_servicing.reconcile.pulse import Pulse
from agent_servicing.reconcile.supervisor import Supervisor
from agent_servicing.services.all import build_services
from agent_servicing.services.redaction import Redactor
from agent_servicing.services.secrets import Secrets
from agent_servicing.settings import Settings
from agent_servicing.store.database import Database
from agent_servicing.store.sql import SqlStore
from agent_servicing.testing.memory import MemoryClient, MemoryMetrics, MemoryRouter, MemoryRuntime
from agent_servicing.testing.outward import MemorySender, MemoryTracker
from agent_servicing.web.app import create_app
from agent_servicing.web.server import uvicorn_config

INSTANCES_OF_AN_AGENT = 100

MANIFEST = """
[agent]
id = "{agent}"
[source]
path = "/srv/none"
[run]
command = ["serve"]
instances = {instances}
[health]
interval_seconds = 5
[config]
defaults = {{ timeout_seconds = 30, prompt = "{prompt}" }}
reload = "sdk"
"""


class Runtime(MemoryRuntime):
    """Also `ConfiguresInstances`; finds tokens at once, as the real one does."""

    async def holder(self, token):
        agent, _, instance = token.removeprefix("token-of-").partition("-")
        process = self.processes.get(agent, {}).get(instance)
        return (agent, process) if process is not None and process.alive else None

    async def write_config(self, agent: str, instance: str, text: str) -> None: ...

    async def read_config(self, agent: str, instance: str) -> str | None:
        return None

    async def signal(self, agent: str, instance: str, name: str) -> None: ...

    async def token(self, agent: str, instance: str) -> str | None:
        return self.token_of(agent, instance)


class Source:
    async def versions(self, manifest):
        return [SourceVersion(version="1.0.0", ref="1")]


async def main(instances: int, bus_url: str, folder: Path) -> None:
    clock, ids, redactor = SystemClock(), RandomIds(), Redactor()
    runtime, router = Runtime(clock), MemoryRouter()
    metrics, client, settings = MemoryMetrics(clock, router, runtime), MemoryClient(clock, runtime), Settings(data_dir=folder)
    opened = open_nats(bus_url) if bus_url else open_local("")
    async with opened as bus, Database.open(f"sqlite:///{folder / 'servicing.db'}") as database:
        secrets = Secrets(database=database, clock=clock, ids=ids, settings=settings, cipher=Vault(data_dir=folder), redactor=redactor)
        async with InstanceChannel(runtime=runtime, clock=clock, secrets=secrets) as channel, anyio.create_task_group() as tasks:
            drivers = {"database": database, "clock": clock, "ids": ids, "bus": bus, "runtime": runtime, "metrics": metrics}
            services = build_services(
                **drivers,
                sources={"path": Source()},
                settings=settings,
                secrets=secrets,
                redactor=redactor,
                outside=Outside(sender=MemorySender(), tracker=MemoryTracker()),
                configs=channel,
                passwords=Argon2Passwords(),
            )
            store = SqlStore(database=database, ids=ids, event_retention_count=100_000)
            pulse = Pulse.of(runtime=runtime, router=router, client=client, store=store, clock=clock, interval_seconds=1.0)
            engine = Engine(
                store=store, runtime=runtime, router=router, metrics=metrics, client=client, clock=clock, limits=Limits(),
                action_timeout_seconds=10, channel=channel, pulse=pulse,
            )  # fmt: skip
            supervisor = Supervisor(engine=engine, store=store, bus=bus, clock=clock, lease_seconds=30, concurrency=8)
            app = create_app(services, settings=settings, clock=clock, ids=ids, bus=bus, instance_link=channel.link)
            server = uvicorn.Server(uvicorn_config(app, host="127.0.0.1", port=0))
            tasks.start_soon(supervisor.run)
            tasks.start_soon(server.serve)
            names = await installed(services, clock, instances)
            while not server.started:
                await clock.sleep(0.01)
            tokens = {name: {i: runtime.token_of(name, i) for i in runtime.processes[name]} for name in names}
            address = server.servers[0].sockets[0].getsockname()
            admin = await services.access.ensure_admin_token(folder)
            print(json.dumps({"port": address[1], "admin": admin, "tokens": tokens}), flush=True)
            await anyio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
            channel.link.close()
            server.should_exit = True
            tasks.cancel_scope.cancel()


async def installed(services, clock, instances: int) -> Mapping[str, object]:
    """Agents of at most a hundred instances each, all ready."""
    left, names = instances, []
    while left:
        size = min(left, INSTANCES_OF_AN_AGENT)
        left -= size
        name = f"Agent{len(names)}"
        names.append(name)
        text = MANIFEST.format(agent=name, instances=size, prompt="be brief " * 200)
        await services.fleet.add(load_manifest(text, origin="bench"), version="1.0.0", actor="bench")
    for name in names:
        while True:
            state = (await services.fleet.get(name)).state
            ready = [i for i in state.instances if i.status == "ready"]
            if state.agent.version and not state.deployments and len(ready) == state.agent.instances:
                break
            await clock.sleep(0.1)
    return names


if __name__ == "__main__":
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)  # as `serve` does
    with tempfile.TemporaryDirectory(prefix="servicing-bench-") as scratch:
        anyio.run(main, int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "", Path(scratch), backend_options=EVENT_LOOP)
