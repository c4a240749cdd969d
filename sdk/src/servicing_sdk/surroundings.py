"""What the server tells an instance at its start, by environment variables. Without them the SDK does nothing."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """`url` empty: there is no server to talk to. `cache` is shared by all instances of the agent and kept over restarts."""

    url: str = ""
    token: str = ""
    agent: str = ""
    instance: str = ""
    version: str = ""
    revision: str = ""
    file: Path | None = None
    cache: Path | None = None
    state: Path | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str] = os.environ) -> "Surroundings":
        def folder(name: str) -> Path | None:
            return Path(environ[name]) if environ.get(name) else None

        return cls(
            url=environ.get("SERVICING_URL", ""),
            token=environ.get("SERVICING_INSTANCE_TOKEN", ""),
            agent=environ.get("SERVICING_AGENT", ""),
            instance=environ.get("SERVICING_INSTANCE", ""),
            version=environ.get("SERVICING_VERSION", ""),
            revision=environ.get("SERVICING_CONFIG_REVISION", ""),
            file=folder("SERVICING_CONFIG_FILE"),
            cache=folder("SERVICING_CONFIG_DIR"),
            state=folder("SERVICING_STATE_DIR"),
        )

    @property
    def connected(self) -> bool:
        """Whether there is a server that started this process."""
        return bool(self.url and self.token and self.agent)

    @property
    def base(self) -> str:
        """The path below which the server speaks to this agent."""
        return f"/api/platform/agents/{quote(self.agent, safe='')}"
