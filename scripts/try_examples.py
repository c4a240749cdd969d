"""Called by `make wheel` inside an environment that has only the wheel: the sample agents must be inside it."""

import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from agent_servicing.testing.samples import build_repositories

with tempfile.TemporaryDirectory() as folder:
    repositories = build_repositories(Path(folder), now=datetime(2026, 1, 1, tzinfo=UTC))
    missing = [agent for agent, path in repositories.items() if not (path / "agent.toml").is_file()]
sys.exit(f"no manifest in {missing}" if missing else 0)
