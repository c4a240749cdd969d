"""From what an instance says to a `ConfigReport`: hashes become keys of documents, problems lose what must not leave. Both ways in use it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from agent_servicing.adapters.config.rendering import Renderer, cleaned
from agent_servicing.core.config.layers import ConfigDocument
from agent_servicing.core.config.report import Attempt, ConfigReport, Problem
from agent_servicing.core.config.said import Held, Said, Tried
from agent_servicing.core.errors import PermanentError, TemporaryError

ANOTHER: Final = Problem(path="", message="it acknowledged another document")
HIDDEN: Final = Problem(path="", message="it gave a reason, which is not shown: the secrets to take out of it cannot be read now")

_AGREED: Final = frozenset({"prepared", "applied", "pending_restart", "pending_conversation"})


def report_of(renderer: Renderer, agent: str, instance: str, said: Said, at: datetime) -> ConfigReport:
    """`said` must have gone through `checked`."""

    def key(held: Held | Tried | None) -> str | None:
        # A script knows hashes only: the revision it names may be the one it began with.
        return None if held is None else renderer.key_of(agent, held.hash, None if said.level == "script" else held.revision)

    config, tried = said.config, said.config.last_attempt
    return ConfigReport(
        instance=instance,
        level=said.level,
        at=at,
        applied=key(config.applied),
        prepared=key(config.prepared),
        attempt=Attempt(revision=tried.revision, key=key(tried) or "", result=tried.result, at=tried.at or at, problems=tried.errors)
        if tried is not None
        else None,
        pending={pending.path: pending.scope for pending in config.pending},
        state=said.state,
        load=said.load,
    )


async def checked(renderer: Renderer, agent: str, said: Said, documents: Sequence[ConfigDocument]) -> Said:
    """The same, of an instance that was given `documents`: secrets out of its reasons, and an agreement to something else is a failure."""
    tried = said.config.last_attempt
    if tried is None:
        return said
    if tried.result in _AGREED:
        given = [document for document in documents if document.revision == tried.revision]
        hashes = [await renderer.digest(agent, document) for document in given]
        if not hashes or tried.hash in hashes:
            return _with(said, replace(tried, errors=await without_secrets(renderer, agent, tried.errors, documents)))
        return _with(said, replace(tried, result="failed", errors=(ANOTHER,)))
    return _with(said, replace(tried, errors=await without_secrets(renderer, agent, tried.errors, documents)))


async def without_secrets(
    renderer: Renderer, agent: str, problems: Sequence[Problem], documents: Sequence[ConfigDocument]
) -> tuple[Problem, ...]:
    """Problems as they may be kept and shown."""
    if not problems:
        return ()
    try:
        secrets = [secret for document in documents for secret in (await renderer.rendered(agent, document)).secrets]
    except (TemporaryError, PermanentError):
        return (HIDDEN,)
    return cleaned(problems, sorted(set(secrets), key=len, reverse=True))


def _with(said: Said, tried: Tried) -> Said:
    return replace(said, config=replace(said.config, last_attempt=tried))
