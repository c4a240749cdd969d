"""One way to talk to HAProxy: the router driver gives orders through it, the metrics driver reads. Commands in, answers out."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import anyio
from anyio.abc import ByteStream

from agent_servicing.core.errors import TemporaryError

ADMIN_SOCKET = "admin.sock"
"""The current worker."""

MASTER_SOCKET = "master.sock"
"""The master: it knows its workers, reloads, and passes commands on to any of them."""

ANSWER_SECONDS = 3.0
"""Longest wait for an answer; ordinary ones take less than a millisecond, the largest table about half a second."""

RELOAD_SECONDS = 20.0
"""Longest wait for a reload, which answers only when the new worker runs. Loading 512 agents takes about two seconds."""

LINE_BYTES = 8_000
"""Commands sent in one line; HAProxy takes at most one buffer (16 KB)."""

PATH_BYTES = 100
"""Unix socket paths may be about this long; a longer one is reached through a descriptor of its folder."""

_MOVED = ("changed from", "no need to change")
"""What HAProxy says when it obeys `set server … addr`."""


class HaproxySocket:
    """The two Unix sockets of the HAProxy in `folder`. Every failure to get an answer is a `TemporaryError`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def ask(self, *commands: str) -> list[str]:
        """One answer per command from the current worker, without the blank line that ends it."""
        answers: list[str] = []
        for batch in _batches(commands):
            text = await self._talk(ADMIN_SOCKET, ";".join(batch), ANSWER_SECONDS)
            answers += _split(text, len(batch))
        return answers

    async def order(self, *commands: str) -> None:
        """Give commands. What is said beyond the news of a new address is a refusal, raised as `TemporaryError`."""
        answers = await self.ask(*commands)
        for command, answer in zip(commands, answers, strict=True):
            if answer and not any(sign in answer for sign in _MOVED):
                raise TemporaryError(f"HAProxy refused {command!r}: {answer}")

    async def ask_master(self, command: str, *, seconds: float = ANSWER_SECONDS) -> str:
        """The master's answer to one command; `@!PID command` asks one worker of any age."""
        return (await self._talk(MASTER_SOCKET, command, seconds)).strip("\n")

    async def _talk(self, name: str, line: str, seconds: float) -> str:
        try:
            # Shielded: orders given half-way would be worse than a cancellation that waits for the rest of a millisecond.
            with anyio.fail_after(seconds, shield=True), _reachable(self.folder, name) as path:
                async with await anyio.connect_unix(path) as stream:
                    await stream.send(line.encode() + b"\n")
                    # The master answers only when it knows that nothing more will be asked.
                    await stream.send_eof()
                    return await _read_all(stream)
        except (OSError, TimeoutError, anyio.EndOfStream, anyio.BrokenResourceError) as error:
            raise TemporaryError(f"HAProxy does not answer on {name}: {error!r}", retry_after_seconds=0.5) from error


async def _read_all(stream: ByteStream) -> str:
    parts: list[bytes] = []
    try:
        while True:
            parts.append(await stream.receive())
    except anyio.EndOfStream:
        return b"".join(parts).decode(errors="replace")


@contextmanager
def _reachable(folder: Path, name: str) -> Iterator[str]:
    path = str(folder / name)
    if len(path.encode()) < PATH_BYTES:
        yield path
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{name}"
    finally:
        os.close(handle)


def _batches(commands: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for command in commands:
        if batch and size + len(command) > LINE_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(command)
        size += len(command) + 1
    if batch:
        yield batch


def _split(text: str, count: int) -> list[str]:
    """The answers in `text`; each ends with a blank line, and no answer holds one."""
    answers: list[str] = []
    lines: list[str] = []
    for line in text.split("\n"):
        if line:
            lines.append(line)
        else:
            answers.append("\n".join(lines))
            lines = []
    if len(answers) < count:
        raise TemporaryError("HAProxy broke off its answer", retry_after_seconds=0.5)
    return answers[:count]
