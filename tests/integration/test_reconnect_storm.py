"""Everybody comes back at the same moment: the server was restarted under its subscribers, and no patch may be lost."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest

from agent_servicing.core.config.layers import ConfigDocument
from tests.integration.api_world import AGENT, MANIFEST, open_world
from tests.integration.channel_world import FIRST, SECOND, document
from tests.integration.link_world import PATH, PATIENCE_SECONDS, Linked, open_linked, until

pytestmark = pytest.mark.anyio

MANY = 100
"""As many as two cores start and bring back in a few seconds beside other tests; `benchmarks/hot_patch.py` does it with a thousand."""

THIRD = document("cfg-1.0.0-p2", timeout_seconds=90)


class Subscriber:
    """As the SDK is: a subscription and reports, and another subscription at once when it ends."""

    def __init__(self, linked: Linked, instance: str) -> None:
        self.instance, self.seen, self.refused = instance, list[str](), 0
        self._token = linked.world.runtime.token_of(AGENT, instance)

    async def stay(self, port: int) -> None:
        """Until the subscription ends."""
        async with await anyio.connect_tcp("127.0.0.1", port) as down:
            await down.send(self._request("GET"))
            text = b""
            while True:
                try:
                    text += await down.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return
                self.refused += text.startswith(b"HTTP/1.1 ") and not text.startswith(b"HTTP/1.1 200")
                *whole, text = text.split(b"\n")
                for line in whole:
                    if line.startswith(b"data:"):
                        await self._told(json.loads(line[5:]), port)

    async def _told(self, message: dict[str, Any], port: int) -> None:
        name = {"revision": message["revision"], "hash": message["hash"]}
        self.seen.append(message["revision"])
        body = {"level": "sdk", "config": {"applied": name}}
        async with await anyio.connect_tcp("127.0.0.1", port) as up:
            await up.send(self._request("POST", json.dumps(body)))
            answer = await up.receive()
        self.refused += not answer.startswith(b"HTTP/1.1 200")

    def _request(self, method: str, body: str = "") -> bytes:
        head = f"{method} {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {self._token}\r\nContent-Type: application/json\r\n"
        head += "Connection: close\r\n"
        return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def told(linked: Linked, wanted: ConfigDocument, instances: list[str]) -> None:
    for name in instances:
        linked.channel.link.commit(AGENT, name, wanted, deadline_seconds=PATIENCE_SECONDS)


async def acknowledged(linked: Linked, wanted: ConfigDocument, instances: list[str]) -> bool:
    reports = [linked.channel.link.latest(AGENT, name) for name in instances]
    return all(report is not None and report.applied == wanted.key for report in reports)


async def test_all_of_them_are_taken_back_at_once_and_have_the_patch_that_was_made_meanwhile(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        world.source.manifest_text = MANIFEST.replace("instances = 2", f"instances = {MANY}")
        async with open_linked(world) as linked:
            instances = sorted(world.runtime.processes[AGENT])
            assert len(instances) == MANY
            everybody = [Subscriber(linked, name) for name in instances]
            port, rounds = int(linked.address.rpartition(":")[2]), anyio.Event()

            async def live(one: Subscriber) -> None:
                await one.stay(port)
                await rounds.wait()  # so that all of them come at the same moment, which jitter avoids in life
                await one.stay(port)

            async with anyio.create_task_group() as tasks:
                for one in everybody:
                    tasks.start_soon(live, one)
                told(linked, FIRST, instances)
                await until(lambda: acknowledged(linked, FIRST, instances))
                # What a restarted server does not have any more, and a patch while nobody is there.
                for name in instances:
                    linked.channel.link.forget(AGENT, name)
                told(linked, SECOND, instances)
                rounds.set()
                await until(lambda: acknowledged(linked, SECOND, instances))
                told(linked, THIRD, instances)
                await until(lambda: acknowledged(linked, THIRD, instances))
                tasks.cancel_scope.cancel()
            assert {one.refused for one in everybody} == {0}
            for one in everybody:
                assert one.seen[0] == FIRST.revision
                assert one.seen[-2:] == [SECOND.revision, THIRD.revision]
