"""Starts the process of one instance: prepares its folder, its environment and its command, and hands back the record of what runs.

Runs in a worker thread, whole: whoever cancels waits until the record is written, so a started process is never unknown.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from errno import ENOENT, ENOEXEC
from pathlib import Path

from agent_servicing.adapters.runtime.environment import CommandNotFound, base_environment, fill, resolve
from agent_servicing.adapters.runtime.files import sentence, storage_error, write_atomically
from agent_servicing.adapters.runtime.folders import Folders
from agent_servicing.adapters.runtime.procfs import identify
from agent_servicing.adapters.runtime.records import Record, to_json
from agent_servicing.core.config.layers import text_of
from agent_servicing.core.model import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class Spawner:
    """What every start has in common. `outer` is the server's own environment."""

    folders: Folders
    outer: Mapping[str, str]
    server_url: str
    router_url: str = ""

    def start(
        self,
        release: Release,
        *,
        instance: str,
        generation: int,
        config: str,
        revision: str,
        epoch: int,
        host: str,
        port: int,
        token: str,
        now: datetime,
    ) -> Record:
        """Start it and write its record. A command that cannot be run is recorded as an instance that ended with 127 or 126.

        `config` is the text of its configuration file, empty: the manifest's defaults. `epoch` tells which state folder it is given.

        Raises `TemporaryError` when the disk or the kernel refuses; nothing runs and nothing is recorded then.
        """
        manifest = release.manifest
        file = self.folders.config(release.agent, instance, manifest)
        record = Record(
            agent=release.agent,
            instance=instance,
            version=release.version,
            generation=generation,
            host=host,
            port=port,
            token=token,
            config_file=str(file),
            identity=None,
            started_at=now,
        )
        state = self.folders.state(manifest, epoch)
        values = self._placeholders(record, state)
        try:
            state.mkdir(parents=True, exist_ok=True)
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folders.config_cache(release.agent).mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(file, config or text_of(manifest.config.defaults))
            environment = {**self._environment(record, state, manifest.run.env, values), "SERVICING_CONFIG_REVISION": revision}
            command = [fill(part, values) for part in manifest.run.command]
            record = self._run(record, command, environment)
            self._write(record)
        except OSError as error:
            raise storage_error(f"start {release.agent}/{instance}", error) from error
        return record

    def _placeholders(self, record: Record, state: Path) -> dict[str, str]:
        return {
            "host": record.host,
            "port": str(record.port),
            "release": str(self.folders.release(record.agent, record.version)),
            "state": str(state),
            "config": record.config_file,
            "version": record.version,
            "agent": record.agent,
            "instance": record.instance,
        }

    def _environment(self, record: Record, state: Path, declared: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
        """Ours over the manifest's over the base: an agent can rely on the contract's variables whatever its manifest says."""
        return {
            **base_environment(self.outer, Path(values["release"])),
            **{name: fill(text, values) for name, text in declared.items()},
            "HOST": record.host,
            "PORT": str(record.port),
            "SERVICING_URL": self.server_url,
            "SERVICING_ROUTER_URL": self.router_url,
            "SERVICING_INSTANCE_TOKEN": record.token,
            "SERVICING_CONFIG_FILE": record.config_file,
            "SERVICING_STATE_DIR": str(state),
            "SERVICING_CONFIG_DIR": str(self.folders.config_cache(record.agent)),
            "SERVICING_AGENT": record.agent,
            "SERVICING_VERSION": record.version,
            "SERVICING_INSTANCE": record.instance,
            "SERVICING_GENERATION": str(record.generation),
            "SERVICING_INSTANCE_ID": f"{record.agent}/{record.instance}",
            "SERVICING_DATA_DIR": str(self.folders.data_dir),
        }

    def _run(self, record: Record, command: Sequence[str], environment: Mapping[str, str]) -> Record:
        release = self.folders.release(record.agent, record.version)
        output = self.folders.output(record.agent, record.instance)
        descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            pid = _spawn(resolve(command, path=environment["PATH"], folder=release), environment, release, descriptor)
        except CommandNotFound as error:
            os.write(descriptor, f"{error}\n".encode())
            return record.ended(record.started_at, exit_code=error.exit_code, last_output=str(error))
        finally:
            os.close(descriptor)
        # An unreaped child keeps its /proc entry, so the identity is there even when it has ended by now.
        return replace(record, identity=identify(pid))

    def _write(self, record: Record) -> None:
        try:
            write_atomically(self.folders.record(record.agent, record.instance), to_json(record))
        except OSError:
            if record.identity:  # nobody would know of it after a restart: better not to have it
                with suppress(ProcessLookupError, ChildProcessError):
                    os.killpg(record.identity.pid, signal.SIGKILL)
                    os.waitpid(record.identity.pid, 0)
            raise


def _spawn(command: Sequence[str], environment: Mapping[str, str], folder: Path, output: int) -> int:
    """The pid of the new session's leader. It outlives us: own session, no terminal, no pipe to us."""
    if not folder.is_dir():
        raise FileNotFoundError(ENOENT, "the release folder is gone", str(folder))
    try:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    except (FileNotFoundError, PermissionError) as error:
        # The file is there and executable, so it is the interpreter in its first line that is not.
        raise CommandNotFound(f"command not found: the interpreter of {command[0]} ({sentence(error)})", exit_code=127) from error
    except OSError as error:
        if error.errno != ENOEXEC:
            raise
        raise CommandNotFound(f"command cannot be executed: {command[0]} is no program", exit_code=126) from error
    # We wait for the pid ourselves; a Popen that thinks its child still runs would warn and might take the exit code from us.
    process.returncode = 0
    return process.pid
