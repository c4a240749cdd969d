"""An agent that starts at once, for benchmarks: plain asyncio, no packages. How many of its requests fail can be changed while it runs."""

import json
import sys
import textwrap
from pathlib import Path

from common import ROOT  # noqa: F401  (puts the folder of the tests on the path)

from tests.e2e.harness import Server

PROGRAM = textwrap.dedent('''
    """HOST PORT SWITCH. Fails as the file SWITCH says: {"seed": …, "percent": {version: …}}; drawn by seed and path of the request."""
    import asyncio, json, os, random, sys

    HOST, PORT, SWITCH = sys.argv[1:]
    VERSION = os.environ["SERVICING_VERSION"]

    def fails(path):
        with open(SWITCH) as file:
            switch = json.load(file)
        return random.Random(f"{switch['seed']}:{path}").random() * 100 < switch["percent"].get(VERSION, 0)

    async def serve(reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\\r\\n\\r\\n")
                path = head.split(b" ", 2)[1].decode()
                word = b"500 Internal Server Error" if path != "/healthz" and fails(path) else b"200 OK"
                writer.write(b"HTTP/1.1 " + word + b"\\r\\nContent-Length: 2\\r\\n\\r\\nok")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main():
        async with await asyncio.start_server(serve, HOST, int(PORT)) as server:
            await server.serve_forever()

    asyncio.run(main())
''')

MANIFEST = """
[agent]
id = "{agent}"
description = "starts at once"
[source]
path = "{source}"
[run]
command = ["{python}", "-S", "-E", "program.py", "{{host}}", "{{port}}", "{switch}"]
instances = {instances}
[health]
path = "/healthz"
interval_seconds = 0.5
startup_timeout_seconds = 30
[drain]
timeout_seconds = 5
stream_timeout_seconds = 5
conversation_timeout_seconds = 1
"""


class QuickAgent:
    """So many versions that do the same: 1.0.0, which is installed, 1.1.0 …"""

    def __init__(self, server: Server, agent: str, *, instances: int, versions: int = 2) -> None:
        self._server, self.agent = server, agent
        source = server.folder / f"source-{agent}"
        for version in [f"1.{number}.0" for number in range(versions)]:
            (source / version).mkdir(parents=True)
            (source / version / "program.py").write_text(PROGRAM)
        self._switch = server.folder / f"switch-{agent}.json"
        self.fail(0)
        words = {"agent": agent, "source": source, "python": sys.executable, "switch": self._switch, "instances": instances}
        self._added = server.post("/agents", {"manifest": MANIFEST.format(**words), "version": "1.0.0"}, expect=201)["upgrade_id"]

    def wait(self) -> None:
        done = self._server.outcome(self._added, agent=self.agent)
        assert done["status"] == "completed", done

    def fail(self, seed: int, **percent: float) -> None:
        """From the next request on. `percent`: old and new."""
        words = {"seed": seed, "percent": {"1.0.0": percent.get("old", 0.0), "1.1.0": percent.get("new", 0.0)}}
        fresh = Path(f"{self._switch}.fresh")
        fresh.write_text(json.dumps(words))
        fresh.replace(self._switch)
