"""A whole server whose instances are pretended: services, SQLite, engine, channel, API and page are real; used by hot_patch.py, api_reads.py,
page_500.py and a browser test, in a process of its own.

`INSTANCES [BUS_URL]`, agents of a hundred instances each, all installed by the engine; or `--copies N --of-an-agent M`: one agent that the engine
installed, the others written into the database as copies of it, because installing a thousand takes minutes and is not what is measured.

Prints one JSON line with its address and the instances' tokens once all of them are ready, then serves until its input ends.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import uvicorn
from sqlalchemy import update

from agent_servicing.adapters.config.channel import InstanceChannel
from agent_servicing.adapters.events.local import open_local
from agent_servicing.adapters.events.nats import open_nats
from agent_servicing.adapters.passwords import Argon2Passwords
from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.adapters.vault import Vault
from agent_servicing.bootstrap import heap
from agent_servicing.bootstrap.serve import EVENT_LOOP, THREAD_SWITCH_SECONDS
from agent_servicing.core.events import Event
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
from agent_servicing.store import codec, queries
from agent_servicing.store.codec import AgentBody
from agent_servicing.store.database import Database
from agent_servicing.store.deployments import insert_deployment
from agent_servicing.store.event_log import append
from agent_servicing.store.sql import SqlStore
from agent_servicing.store.tables import agents
from agent_servicing.testing.memory import MemoryClient, MemoryMetrics, MemoryRouter, MemoryRuntime
from agent_servicing.testing.outward import MemorySender, MemoryTracker
from agent_servicing.web.app import create_app
from agent_servicing.web.server import uvicorn_config

COPIED_AT_ONCE = 5
"""Agents written in one transaction: those of others wait no longer than that."""

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
reload = "{reload}"
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
        return [SourceVersion(version=version, ref=version, summary="Remembers more.") for version in ("1.0.0", "1.1.0")]


async def main(asked: argparse.Namespace, folder: Path) -> None:
    clock, ids, redactor = SystemClock(), RandomIds(), Redactor()
    runtime, router = Runtime(clock), MemoryRouter()
    metrics, client, settings = MemoryMetrics(clock, router, runtime), MemoryClient(clock, runtime), Settings(data_dir=folder)
    opened = open_nats(asked.bus) if asked.bus else open_local("")
    async with opened as bus, Database.open(f"sqlite:///{folder / 'servicing.db'}") as database:
        secrets = Secrets(database=database, clock=clock, ids=ids, settings=settings, cipher=Vault(data_dir=folder), redactor=redactor)
        async with InstanceChannel(runtime=runtime, clock=clock, secrets=secrets) as channel, anyio.create_task_group() as tasks:
            drivers = {"database": database, "clock": clock, "ids": ids, "bus": bus, "runtime": runtime, "metrics": metrics}
            store = SqlStore(database=database, ids=ids, event_retention_count=100_000)
            pulse = Pulse.of(runtime=runtime, router=router, client=client, store=store, clock=clock, interval_seconds=1.0)
            services = build_services(
                **drivers,
                states=store.known,
                sources={"path": Source()},
                settings=settings,
                secrets=secrets,
                redactor=redactor,
                outside=Outside(sender=MemorySender(), tracker=MemoryTracker()),
                configs=channel,
                probes=pulse,
                passwords=Argon2Passwords(),
            )
            engine = Engine(
                store=store, runtime=runtime, router=router, metrics=metrics, client=client, clock=clock, limits=Limits(),
                action_timeout_seconds=10, channel=channel, pulse=pulse,
            )  # fmt: skip
            supervisor = Supervisor(engine=engine, store=store, bus=bus, clock=clock, lease_seconds=30, concurrency=8)
            app = create_app(services, settings=settings, clock=clock, ids=ids, bus=bus, instance_link=channel.link)
            server = uvicorn.Server(uvicorn_config(app, host="127.0.0.1", port=0))
            tasks.start_soon(supervisor.run)
            tasks.start_soon(server.serve)
            tasks.start_soon(heap.settle, clock)  # as `serve` does
            if asked.copies:
                names = await installed(services, clock, asked.of_an_agent, asked)
                names += await copied(database, runtime, router, ids, clock, names[0], asked.copies - 1)
            else:
                names = await installed(services, clock, asked.instances, asked)
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


async def installed(services, clock, instances: int, asked: argparse.Namespace) -> list[str]:
    """So many instances, in agents of at most `of_an_agent` each, all ready."""
    left, names = instances, []
    while left:
        size = min(left, asked.of_an_agent)
        left -= size
        name = f"Agent{len(names)}"
        names.append(name)
        text = MANIFEST.format(agent=name, instances=size, prompt="be brief " * 200, reload=asked.reload)
        await services.fleet.add(load_manifest(text, origin="bench"), version="1.0.0", actor="bench")
    for name in names:
        while True:
            state = (await services.fleet.get(name)).state
            ready = [i for i in state.instances if i.status == "ready"]
            if state.agent.version and not state.deployments and len(ready) == state.agent.instances:
                break
            await clock.sleep(0.1)
    return names


async def copied(database, runtime, router, ids, clock, first: str, count: int) -> Sequence[str]:
    """So many more agents like the first one, with its instances, versions, finished installation and audit entry."""
    names = [f"Agent{number}" for number in range(1, count + 1)]
    async with database.read() as connection:
        row = await queries.agent_row(connection, first)
        versions = await queries.version_rows(connection, first)
        [(_, done)] = await queries.deployment_page(connection, of=[first], before=None, limit=1)
    body = row.body
    for at in range(0, count, COPIED_AT_ONCE):
        async with database.write(durable=False) as connection:
            for name in names[at : at + COPIED_AT_ONCE]:
                runtime.processes[name] = dict(runtime.processes[first])
                runtime.installed |= {(name, version): found for (of, version), found in runtime.installed.items() if of == first}
                router.routings[name] = replace(router.routings[first], agent=name)
                number = int(name.removeprefix("Agent"))
                manifest = replace(row.base, agent=name, description=f"Pretended number {number}", owner=f"team-{number % 7}")
                agent = replace(body.agent, agent=name, manifest=manifest)
                await queries.insert_agent(connection, agent, now=clock.now() + timedelta(seconds=30 * number / count))
                encoded = codec.encode_agent(AgentBody(agent=agent, generations=body.generations, instances=body.instances))
                await connection.execute(update(agents).where(agents.c.agent == name).values(body=encoded))
                for version in versions:
                    await queries.save_version(connection, name, replace(version, manifest=replace(version.manifest, agent=name)))
                mine = replace(done, agent=name, deployment=ids.new("upg"))
                await insert_deployment(connection, mine)
                entry = Event(
                    type="install", at=clock.now(), agent=name, deployment=mine.deployment, actor="bench", reason="copied", audit=True,
                    data={"status": "success"},
                )  # fmt: skip
                await append(connection, ids, [entry], keep=100_000)
    return names


def words() -> argparse.Namespace:
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("instances", type=int, nargs="?", default=0)
    reader.add_argument("bus", nargs="?", default="")
    reader.add_argument("--copies", type=int, default=0)
    reader.add_argument("--of-an-agent", type=int, default=100)
    reader.add_argument(
        "--reload", default="sdk", help="how instances get a configuration: sdk (asked over HTTP while not connected) or restart"
    )
    return reader.parse_args()


if __name__ == "__main__":
    sys.setswitchinterval(THREAD_SWITCH_SECONDS)  # as `serve` does
    with tempfile.TemporaryDirectory(prefix="servicing-bench-") as scratch:
        anyio.run(main, words(), Path(scratch), backend_options=EVENT_LOOP)
