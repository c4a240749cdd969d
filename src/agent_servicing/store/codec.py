"""Between the core's dataclasses and what columns hold. Used by the store and the services' queries."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Final

from pydantic import TypeAdapter

from agent_servicing.core.analysis import Block
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Agent, Deployment, Generation, Instance
from agent_servicing.core.schedule import Line
from agent_servicing.core.standing import Standing
from agent_servicing.core.versions import Change
from agent_servicing.ports.uploads import ChangedFile

DECODED_MAX: Final = 1_024
"""Values of a kind that are kept decoded: what lists and turns read again and again is the same text, and values are never changed."""

DECODED_BYTES_MAX: Final = 16 * 1024
"""A longer text is decoded each time. A deployment that is watched is another one twice a second, with minutes of histograms."""

COMPRESSION_LEVEL = 1
"""A deployment that is being watched holds minutes of histograms, mostly zeros: 150 kB become 3 kB in 0.2 ms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentBody:
    """What the engine keeps of an agent."""

    agent: Agent
    generations: tuple[Generation, ...] = ()
    instances: tuple[Instance, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What somebody uploaded as a version: `kind` archive, wheel or diff, made for `base`."""

    base: str
    kind: str
    size_bytes: int
    actor: str
    at: datetime
    reason: str
    changed: tuple[ChangedFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionBody:
    """What a source says about a version, apart from its manifest; or whoever uploaded it."""

    author: str = ""
    summary: str = ""
    changes: tuple[Change, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    standing: Standing = Standing.AVAILABLE
    standing_reason: str = ""
    upload: Upload | None = None


_agent = TypeAdapter(AgentBody)
_deployment = TypeAdapter(Deployment)
_line = TypeAdapter(Line)
_manifest = TypeAdapter(Manifest)
_version = TypeAdapter(VersionBody)
_block = TypeAdapter(Block)

_known_agent = lru_cache(DECODED_MAX)(_agent.validate_json)
_known_deployment = lru_cache(DECODED_MAX)(_deployment.validate_json)
_known_manifest = lru_cache(DECODED_MAX)(_manifest.validate_json)


def encode_agent(body: AgentBody) -> str:
    return _agent.dump_json(body).decode()


def decode_agent(body: str) -> AgentBody:
    return _known_agent(body) if len(body) <= DECODED_BYTES_MAX else _agent.validate_json(body)


def encode_deployment(deployment: Deployment) -> bytes:
    return zlib.compress(_deployment.dump_json(deployment), COMPRESSION_LEVEL)


def decode_deployment(body: bytes) -> Deployment:
    text = zlib.decompress(body)
    return _known_deployment(text) if len(text) <= DECODED_BYTES_MAX else _deployment.validate_json(text)


def encode_line(line: Line) -> str:
    return _line.dump_json(line).decode()


def decode_line(body: str) -> Line:
    return _line.validate_json(body)


def encode_manifest(manifest: Manifest) -> str:
    return _manifest.dump_json(manifest).decode()


def decode_manifest(body: str) -> Manifest:
    return _known_manifest(body) if len(body) <= DECODED_BYTES_MAX else _manifest.validate_json(body)


def encode_version(body: VersionBody) -> str:
    return _version.dump_json(body).decode()


def decode_version(body: str) -> VersionBody:
    return _version.validate_json(body)


def encode_block(block: Block) -> str:
    return _block.dump_json(block).decode()


def decode_block(body: str) -> Block:
    return _block.validate_json(body)
