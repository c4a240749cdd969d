"""The instances of one data directory: started, found again, watched, signalled and forgotten. `ProcessRuntime` is its only caller.

Records live in memory and on disk; whether a process lives is asked of the kernel every time.
"""

import os
import shutil
import signal
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import anyio
import anyio.lowlevel
import structlog
from anyio import to_thread

from agent_servicing.adapters.runtime import procfs
from agent_servicing.adapters.runtime.files import last_lines, sentence, storage_error, write_atomically
from agent_servicing.adapters.runtime.folders import Folders
from agent_servicing.adapters.runtime.limits import Limiter
from agent_servicing.adapters.runtime.logs import prune_logs
from agent_servicing.adapters.runtime.ports import PortPicker
from agent_servicing.adapters.runtime.procfs import Life, Stray
from agent_servicing.adapters.runtime.records import Record, from_json, from_stray, to_json
from agent_servicing.adapters.runtime.spawn import Spawner
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.model import Process, Release
from agent_servicing.core.resources import UNLIMITED, Resources
from agent_servicing.ports import Clock, Ids

LAST_OUTPUT_LINES = 5
"""Shown of an instance that ended: the end of a traceback."""

LAST_OUTPUT_CHARS = 2_000

LOOKED_AT_ONCE = 100
"""Processes asked of the kernel before others of our tasks may run; about a millisecond."""

END_POLL_SECONDS = 0.05
"""How often `stop_everything` looks whether all have ended."""

KILL_WAIT_SECONDS = 5.0
"""How long a killed process may take to disappear; only one in uninterruptible I/O takes longer."""


class Instances:
    """Every instance below one data directory, by agent and name."""

    def __init__(self, *, spawner: Spawner, ports: PortPicker, limiter: Limiter, clock: Clock, ids: Ids, host: str) -> None:
        self._spawner = spawner
        self._folders: Folders = spawner.folders
        self._ports = ports
        self._limiter = limiter
        self._clock = clock
        self._ids = ids
        self._host = host
        self._records: dict[str, dict[str, Record]] = defaultdict(dict)
        self._tokens: dict[bytes, tuple[str, str]] = {}
        self._ports_starting: set[int] = set()
        self._locks: dict[str, anyio.Lock] = defaultdict(anyio.Lock)
        self._log = structlog.get_logger(__name__)

    # --- finding again -------------------------------------------------------------------------------------------------------------

    def load(self, strays: Iterable[Stray]) -> None:
        """Read what earlier servers wrote down, and write down those `strays` that were started but not recorded before the server died."""
        for path in sorted(self._folders.agents.glob("*/instances/*/instance.json")):
            try:
                record = from_json(path.read_text())
            except (ValueError, OSError) as error:
                self._log.warning("instance_record_set_aside", path=str(path), reason=str(error))
                with suppress(OSError):  # it is only set aside for people to look at
                    path.replace(path.with_suffix(".unreadable"))
                continue
            ended = record.ended_at is not None
            self._keep(replace(record, last_output=self._last_output(record)) if ended else record)
        for stray in sorted(strays, key=lambda stray: stray.identity.start_ticks):
            self._adopt(stray)
        self._limiter.sweep()

    def _adopt(self, stray: Stray) -> None:
        try:
            record = from_stray(stray, self._clock.now())
            if record.instance in self._records[record.agent]:
                return
            write_atomically(self._folders.record(record.agent, record.instance), to_json(record))
        except (ValueError, PermanentError, OSError) as error:
            self._log.warning("stray_not_adopted", pid=stray.identity.pid, reason=str(error))
            return
        self._keep(record)
        self._log.info("stray_adopted", agent=record.agent, instance=record.instance, pid=stray.identity.pid)

    # --- starting ------------------------------------------------------------------------------------------------------------------

    async def start(
        self, release: Release, *, instance: str, generation: int, config: str = "", revision: str = "", epoch: int = 0
    ) -> None:
        """Start it unless there is a record of it, ended or not. Raises `TemporaryError` (disk, limits, ports)."""
        async with self._locks[release.agent]:
            if instance in self._records[release.agent]:
                return
            port = self._ports.pick(self._ports_starting | {record.port for record in self._all()})
            self._ports_starting.add(port)
            try:
                record = await to_thread.run_sync(
                    partial(
                        self._spawner.start,
                        release,
                        instance=instance,
                        generation=generation,
                        config=config,
                        revision=revision,
                        epoch=epoch,
                        host=self._host,
                        port=port,
                        token=self._ids.token(),
                        now=self._clock.now(),
                    )
                )
                self._keep(record)
            finally:
                self._ports_starting.discard(port)

    # --- watching ------------------------------------------------------------------------------------------------------------------

    async def observe(self, agent: str) -> Mapping[str, Process]:
        """Every recorded instance; one that is found ended is written down as such."""
        ended = [self._mark_ended(record) for record in list(self._of(agent)) if self._has_ended(record)]
        if ended:
            await to_thread.run_sync(self._save, ended)
        return {record.instance: self._seen(record) for record in self._of(agent)}

    def _seen(self, record: Record) -> Process:
        process = record.process()
        if not process.alive or process.pid is None:
            return process
        return replace(process, resources=self._limiter.read(record, process.pid))

    async def living(self) -> Mapping[str, Mapping[str, int | None]]:
        """The process id of every instance that runs at this moment, by agent and name. Writes nothing down."""
        found: dict[str, dict[str, int | None]] = {}
        for number, record in enumerate(list(self._all())):
            if number % LOOKED_AT_ONCE == LOOKED_AT_ONCE - 1:
                await anyio.lowlevel.checkpoint()
            if record.ended_at is None and _life(record) is Life.ALIVE:
                found.setdefault(record.agent, {})[record.instance] = record.identity.pid if record.identity else None
        return found

    def alive(self) -> list[Record]:
        """Every instance of every agent that runs at this moment."""
        return [record for record in self._all() if record.ended_at is None and _life(record) is Life.ALIVE]

    def holder(self, token: str) -> tuple[str, Process] | None:
        """The agent and the instance that was given this token and runs at this moment."""
        agent, instance = self._tokens.get(_digest(token), ("", ""))
        found = self._records.get(agent, {}).get(instance)
        if found is None or found.ended_at is not None or _life(found) is not Life.ALIVE:
            return None
        return found.agent, found.process()

    def recorded(self, agent: str) -> set[str]:
        return {record.instance for record in self._of(agent)}

    def _has_ended(self, record: Record) -> bool:
        return record.ended_at is None and _life(record) is not Life.ALIVE

    def _mark_ended(self, record: Record) -> Record:
        """Without a pause between reading the exit code, which can be read once, and keeping it."""
        exit_code = _reap(record)
        ended = record.ended(self._clock.now(), exit_code=exit_code, last_output=self._last_output(record))
        self._records[record.agent][record.instance] = ended
        return ended

    def _last_output(self, record: Record) -> str:
        lines = last_lines(self._folders.output(record.agent, record.instance), LAST_OUTPUT_LINES)
        return "\n".join(lines)[-LAST_OUTPUT_CHARS:]

    def _save(self, records: Iterable[Record]) -> None:
        for record in records:
            try:
                write_atomically(self._folders.record(record.agent, record.instance), to_json(record))
            except OSError as error:  # a full disk must not hide from the engine that an instance ended; memory knows it
                self._log.warning("instance_end_not_written", agent=record.agent, instance=record.instance, reason=sentence(error))

    async def limit(self, agent: str, instance: str, resources: Resources) -> None:
        """Every process of its session, until none is found that was not limited yet: those started meanwhile inherit it or are found."""
        record = self._records[agent].get(instance)
        if record is None or record.identity is None or _life(record) is not Life.ALIVE or not (record.limited or resources != UNLIMITED):
            return
        # Noted first, so that whoever comes after a crash of ours looks at them.
        await self._note_limited(record, limited=True)
        await to_thread.run_sync(self._limiter.apply, record, record.identity.pid, resources)
        await self._note_limited(record, limited=resources != UNLIMITED)

    async def _note_limited(self, record: Record, *, limited: bool) -> None:
        now = self._records[record.agent].get(record.instance)
        if now is None or now.limited == limited:
            return
        noted = self._records[record.agent][record.instance] = replace(now, limited=limited)
        try:
            await to_thread.run_sync(write_atomically, self._folders.record(record.agent, record.instance), to_json(noted))
        except OSError as error:
            raise storage_error(f"limit {record.agent}/{record.instance}", error) from error

    # --- configuration -------------------------------------------------------------------------------------------------------------

    async def write_config(self, agent: str, instance: str, text: str) -> None:
        """Into the file it was told of at its start; nothing for an instance that is not there any more. Raises `TemporaryError`."""
        record = self._records[agent].get(instance)
        if record is None:
            return
        try:
            await to_thread.run_sync(write_atomically, Path(record.config_file), text)
        except OSError as error:
            raise storage_error(f"write the configuration of {agent}/{instance}", error) from error

    async def read_config(self, agent: str, instance: str) -> str | None:
        record = self._records[agent].get(instance)
        if record is None:
            return None
        try:
            return await to_thread.run_sync(lambda: Path(record.config_file).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError):
            return None

    def signal(self, agent: str, instance: str, name: str) -> None:
        """To the process we started, not to its group: workers hear of it from their leader."""
        record = self._records[agent].get(instance)
        if record is not None and record.identity is not None and _life(record) is Life.ALIVE:
            with suppress(ProcessLookupError):  # ended meanwhile
                os.kill(record.identity.pid, signal.Signals[f"SIG{name}"])

    def token(self, agent: str, instance: str) -> str | None:
        record = self._records[agent].get(instance)
        return record.token if record is not None else None

    # --- ending --------------------------------------------------------------------------------------------------------------------

    async def stop(self, agent: str, instance: str, *, kill: bool) -> None:
        """SIGTERM to its process group, or SIGKILL to that and to everything else in its session. Only ever to the process we started."""
        record = self._records[agent].get(instance)
        if record is None or record.identity is None:
            return
        if _life(record) is Life.ALIVE:
            _signal_group(record.identity.pid, signal.SIGKILL if kill else signal.SIGTERM)
        if kill:
            await to_thread.run_sync(_kill_session, record)

    async def forget(self, agent: str, instance: str) -> None:
        """Delete the record and the configuration of an ended instance and end what it left running. Its log stays."""
        record = self._records[agent].get(instance)
        if record is None:
            return
        if _life(record) is Life.ALIVE:
            raise TemporaryError(f"{agent}/{instance} still runs as process {record.process().pid}; it cannot be forgotten yet")
        _reap(record)
        await to_thread.run_sync(self._erase, record)
        self._records[agent].pop(instance, None)
        self._tokens.pop(_digest(record.token), None)

    def _erase(self, record: Record) -> None:
        _kill_session(record)
        self._limiter.forget(record)
        folder = self._folders.instance(record.agent, record.instance)
        try:
            for path in folder.iterdir() if folder.exists() else ():
                if path.is_dir():
                    shutil.rmtree(path)
                elif not path.name.startswith("output.log"):
                    path.unlink()
            prune_logs(self._folders, record.agent, self.recorded(record.agent))
        except OSError as error:
            raise storage_error(f"forget {record.agent}/{record.instance}", error) from error

    async def stop_everything(self, grace_seconds: float) -> list[str]:
        """End all instances of the data directory: ask, wait up to `grace_seconds`, kill. Returns those ended, as `agent/instance`."""
        running = self.alive()
        for kill, wait_seconds in ((False, grace_seconds), (True, KILL_WAIT_SECONDS)):
            for record in self.alive():
                await self.stop(record.agent, record.instance, kill=kill)
            deadline = self._clock.monotonic() + wait_seconds
            while self.alive() and self._clock.monotonic() < deadline:
                await self._clock.sleep(END_POLL_SECONDS)
        for record in running:
            await to_thread.run_sync(_kill_session, record)
        await to_thread.run_sync(self._limiter.sweep)
        for agent in list(self._records):
            await self.observe(agent)
        left = {(record.agent, record.instance) for record in self.alive()}
        return [f"{record.agent}/{record.instance}" for record in running if (record.agent, record.instance) not in left]

    def _keep(self, record: Record) -> None:
        self._records[record.agent][record.instance] = record
        self._tokens[_digest(record.token)] = (record.agent, record.instance)

    def _of(self, agent: str) -> Iterator[Record]:
        return iter(self._records.get(agent, {}).values())

    def _all(self) -> Iterator[Record]:
        return (record for records in self._records.values() for record in records.values())


def _digest(token: str) -> bytes:
    """What tokens are looked up by: how long that takes says nothing about the token itself."""
    return sha256(token.encode(errors="surrogatepass")).digest()


def _life(record: Record) -> Life:
    return procfs.life_of(record.identity) if record.identity else Life.GONE


def _reap(record: Record) -> int | None:
    """The exit code of a child that ended (negative: by that signal). None when it is not our child: nobody can know then."""
    if record.identity is None or _life(record) is not Life.ZOMBIE:
        return record.exit_code
    try:
        pid, status = os.waitpid(record.identity.pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status) if pid else None


def _signal_group(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):  # ended meanwhile
        os.killpg(group, number)


def _kill_session(record: Record) -> None:
    """SIGKILL to whatever still runs in the instance's session: workers that outlived their leader or left its process group."""
    if record.identity is None or record.identity.boot_id != procfs.boot_id():
        return
    for pid in procfs.session_members(record.identity.pid, f"SERVICING_INSTANCE_ID={record.agent}/{record.instance}"):
        with suppress(ProcessLookupError):  # ended meanwhile
            os.kill(pid, signal.SIGKILL)
