"""Requests without conversations at a steady rate, from a process of its own: URL AGENT RATE SECONDS. Sends at its times whatever the answers do.

Cheap enough to keep its rate on a busy machine: raw sockets, kept open. Ends with its time or with its stdin; then prints every request
as [sent, answered, status, instance], moments in seconds since the epoch; status 0 is a connection error.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

LONGEST_ANSWER_SECONDS = 30.0


class Asked(NamedTuple):
    sent: float
    answered: float
    status: int
    served_by: str

    @property
    def version(self) -> str:
        return self.served_by.partition("@")[2].partition("/")[0]

    @property
    def lost(self) -> bool:
        """By the data plane or by us; an agent's own 500 is not."""
        return self.status != 500 and self.status != 200


class Steady:
    """The process. `end` returns every request in the order of sending."""

    def __init__(self, router_url: str, agent: str, *, rate: float, seconds: float) -> None:
        words = [sys.executable, str(Path(__file__).resolve()), router_url, agent, str(rate), str(seconds)]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def end(self) -> list[Asked]:
        out, _ = self._process.communicate("stop\n", timeout=120)
        return sorted(Asked(*entry) for entry in json.loads(out))


async def main(url: str, agent: str, rate: float, seconds: float) -> None:
    place = urlsplit(url)
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    asked: list[tuple[float, float, int, str]] = []
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)

    async def ask(number: int) -> None:
        """A kept connection may be closed by the other side just as it is used again: then, as every client does, once more on a fresh one."""
        sent, status, served_by = time.time(), 0, ""
        try:
            async with asyncio.timeout(LONGEST_ANSWER_SECONDS):
                if kept := idle.pop() if idle else None:
                    try:
                        status, served_by = await exchange(number, *kept)
                    except (OSError, asyncio.IncompleteReadError) as error:
                        kept[1].close()
                        if isinstance(error, asyncio.IncompleteReadError) and error.partial:
                            raise
                        kept = None
                if kept is None:
                    status, served_by = await exchange(number, *await asyncio.open_connection(place.hostname, place.port))
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            pass
        asked.append((sent, time.time(), status, served_by))

    async def exchange(number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, str]:
        writer.write(f"GET /{agent}/{number} HTTP/1.1\r\nHost: {place.netloc}\r\n\r\n".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])}
        await reader.readexactly(int(fields.get("content-length", "0")))
        if fields.get("connection") == "close":
            writer.close()
        else:
            idle.append((reader, writer))
        return int(head[0].split(" ")[1]), fields.get("x-served-by", "")

    began, number = time.monotonic(), 0
    async with asyncio.TaskGroup() as tasks:
        while not stop.is_set() and (due := number / rate) < seconds:
            await asyncio.sleep(max(0.0, began + due - time.monotonic()))
            tasks.create_task(ask(number))
            number += 1
    print(json.dumps(asked), flush=True)


def load_average() -> list[float]:
    return [round(value, 1) for value in os.getloadavg()]


if __name__ == "__main__":
    words: list[Any] = sys.argv[1:]
    asyncio.run(main(words[0], words[1], float(words[2]), float(words[3])))
