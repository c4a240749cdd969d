"""Reads and writes `agent.toml`: text or JSON in, the core's `Manifest` out, or one error that names every problem.

Services call `load_manifest` when an agent is added, `merge` for each version that brings its own file, `resolve_source` to make paths
absolute, `dump_manifest` for the API and differences.
"""

import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from agent_servicing.core.errors import FieldError, Invalid
from agent_servicing.core.manifest import Manifest
from agent_servicing.manifest.convert import to_core, to_file
from agent_servicing.manifest.problems import field_errors, invalid
from agent_servicing.manifest.schema import RUNTIMES, ManifestFile

MANIFEST_NAME = "agent.toml"
"""The file's name at the root of an agent's source."""

MANIFEST_MAX_CHARS = 262_144
"""Longest manifest: far more than any real one, little enough to keep with every version."""

__all__ = ["MANIFEST_MAX_CHARS", "MANIFEST_NAME", "dump_manifest", "load_manifest", "merge", "resolve_source"]


def load_manifest(text: str | Mapping[str, object], *, origin: str, runtimes: Collection[str] = RUNTIMES) -> Manifest:
    """The manifest in this TOML or JSON text, or these values. `origin` names it in errors: its path, or where it came from.

    Raises `Invalid` whose `errors` hold every problem with its dotted path and what is allowed.
    """
    values = _values(text, origin) if isinstance(text, str) else text
    problems: tuple[FieldError, ...] = _runtime_problem(values, runtimes)
    try:
        file = ManifestFile.model_validate(values)
    except ValidationError as error:
        raise invalid(origin, (*field_errors(error, ManifestFile), *problems)) from None
    if problems:
        raise invalid(origin, problems)
    return to_core(file, text if isinstance(text, str) else json.dumps(text, indent=2))


def dump_manifest(manifest: Manifest) -> dict[str, object]:
    """The manifest as the file's tables in JSON values, defaults included; loading them again gives the same manifest but for its text."""
    return to_file(manifest)


def merge(agent: Manifest, version_text: str | None, *, origin: str, runtimes: Collection[str] = RUNTIMES) -> Manifest:
    """The manifest of one version: its own file where its source carries one, but the agent's id and source. None: the agent's manifest."""
    if version_text is None:
        return agent
    values = dict(_values(version_text, origin))
    named = values.get("agent", {})
    if isinstance(named, Mapping):  # anything else is left as it is, to be refused with its path
        values["agent"] = {**named, "id": agent.agent}
    values["source"] = {agent.source.kind: agent.source.location}
    return replace(load_manifest(values, origin=origin, runtimes=runtimes), text=version_text)


def resolve_source(manifest: Manifest, base: Path) -> Manifest:
    """The same manifest with a source that means the same from everywhere: a relative or `~` path is taken from the folder `base`."""
    source = manifest.source
    if source.kind not in {"path", "git"} or (source.kind == "git" and _is_address(source.location)):
        return manifest
    location = (base / Path(source.location).expanduser()).resolve()
    return replace(manifest, source=replace(source, location=str(location)))


def _is_address(location: str) -> bool:
    """`scheme://…` or `host:path`, as git tells them from local paths: no slash before the first colon."""
    return "://" in location or ("/" not in location.partition(":")[0] and ":" in location)


def _values(text: str, origin: str) -> Mapping[str, object]:
    if len(text) > MANIFEST_MAX_CHARS:
        raise invalid(origin, (FieldError(path="", message=f"is longer than {MANIFEST_MAX_CHARS} characters"),))
    try:
        values: object = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise invalid(origin, (FieldError(path="", message=f"is not valid TOML: {error}"),)) from None
    if not isinstance(values, Mapping):
        raise Invalid(f"{origin}: must be a table")
    return values


def _runtime_problem(values: Mapping[str, object], runtimes: Collection[str]) -> tuple[FieldError, ...]:
    """Which runtimes exist is known only where drivers are; the file's own check is that it is text."""
    run = values.get("run")
    name = run.get("runtime", "process") if isinstance(run, Mapping) else "process"
    if not isinstance(name, str) or name in runtimes:
        return ()
    return (FieldError(path="run.runtime", message=f"must be one of {', '.join(sorted(runtimes))}, not {name!r}"),)
