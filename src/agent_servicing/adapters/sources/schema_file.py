"""Which file of a version is its configuration's schema? Sources ask, to hand its text over with the version; nothing is checked here."""

import tomllib
from pathlib import PurePosixPath


def schema_path(manifest_text: str | None, default: str | None) -> str | None:
    """The path that the version's own manifest names; without one, `default`. A broken manifest names none: its reader will complain."""
    if manifest_text is None:
        return default
    try:
        config = tomllib.loads(manifest_text).get("config", {})
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    named = config.get("schema") if isinstance(config, dict) else None
    if not isinstance(named, str) or not named:
        return None
    path = PurePosixPath(named)
    return None if path.is_absolute() or ".." in path.parts else str(path)
