"""What a report is made of: facts about a deployment in, a zip of JSON and text and a Markdown summary out. Pure; called by `services.issues`.

Everything that agents wrote has been masked before; what is written here is masked once more as a whole. Sizes are limited: long logs lose their
beginnings first.
"""

import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Final

from agent_servicing.core.impact import impact_view
from agent_servicing.core.model import Deployment
from agent_servicing.core.retreat import describe

BUNDLE_BYTES_MAX: Final = 1024 * 1024
"""Zipped. Logs are cut until it fits."""

LOG_BYTES_MAX: Final = 256 * 1024
"""Of one instance, before zipping."""

CUTS_MAX: Final = 12
"""Each halves the logs: 256 KiB become 64 bytes."""

SUMMARY_CHARACTERS_MAX: Final = 60_000
"""GitHub takes 65 536."""

SUMMARY_LOG_LINES: Final = 60

Mask = Callable[[str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that is known. `parts` become JSON files by name, `logs` text files by instance."""

    issue: str
    agent: str
    title: str
    note: str
    actor: str
    at: datetime
    window_seconds: float
    deployment: Deployment | None
    parts: Mapping[str, object] = field(default_factory=dict)
    logs: Mapping[str, Sequence[str]] = field(default_factory=dict)
    missing: Sequence[str] = ()
    """What could not be read, in words."""
    software: Mapping[str, str] = field(default_factory=dict)


def build(facts: Facts, mask: Mask) -> tuple[bytes, str]:
    """The zip and the summary."""
    summary = mask(_summary(facts))
    limit = LOG_BYTES_MAX
    for _ in range(CUTS_MAX):
        made = _zip(facts, mask, summary, limit)
        if len(made) <= BUNDLE_BYTES_MAX:
            return made, summary
        limit //= 2
    return _zip(replace(facts, parts={}, logs={}), mask, summary, 0), summary


def default_title(agent: str, deployment: Deployment | None) -> str:
    if deployment is None:
        return f"{agent}: a report"
    what = f"{agent}: {deployment.kind.value} to {deployment.to_version} {deployment.status.value.replace('_', ' ')}"
    return f"{what}: {deployment.trigger.reason}"[:200] if deployment.trigger is not None else what


def plain(value: object) -> object:
    """Dataclasses, moments and names as JSON has them."""
    return json.loads(json.dumps(value, default=_plain, ensure_ascii=False))


def _plain(value: object) -> object:
    if hasattr(value, "__dataclass_fields__"):
        return asdict(value)  # type: ignore[call-overload]
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, set | frozenset | tuple):
        return sorted(value, key=str) if isinstance(value, set | frozenset) else list(value)
    return value.value if isinstance(value, Enum) else value.isoformat() if isinstance(value, datetime) else str(value)


def _zip(facts: Facts, mask: Mask, summary: str, log_bytes: int) -> bytes:
    head = {
        "issue_id": facts.issue,
        "agent_id": facts.agent,
        "upgrade_id": facts.deployment.deployment if facts.deployment else None,
        "title": facts.title,
        "note": facts.note,
        "reported_by": facts.actor,
        "at": facts.at,
        "window_seconds": facts.window_seconds,
        "software": facts.software,
        "missing": list(facts.missing),
    }
    files = {"issue.json": _json(head), "summary.md": summary}
    files |= {f"{name}.json": _json(part) for name, part in facts.parts.items()}
    if log_bytes:
        files |= {f"logs/{_file_name(name)}.log": _tail(lines, log_bytes) for name, lines in facts.logs.items()}
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            moment = (max(facts.at.year, 1980), facts.at.month, facts.at.day, facts.at.hour, facts.at.minute, facts.at.second)
            archive.writestr(zipfile.ZipInfo(name, moment), mask(text).encode("utf-8", "replace"), zipfile.ZIP_DEFLATED)
    return target.getvalue()


def _json(value: object) -> str:
    return json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n"


def _tail(lines: Sequence[str], limit: int) -> str:
    """The last lines that fit."""
    kept, size = [], 0
    for line in reversed(lines):
        size += len(line) + 1
        if size > limit:
            kept.append("… earlier lines are left out")
            break
        kept.append(line)
    return "\n".join(reversed(kept)) + "\n"


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)[:100]


def _summary(facts: Facts) -> str:
    lines = [facts.note, ""] if facts.note else []
    lines += ["| | |", "|---|---|"]
    lines += [f"| {name} | {_cell(value)} |" for name, value in _rows(facts) if value not in ("", None)]
    if facts.deployment is not None:
        lines += ["", "### Stages", ""]
        lines += [
            f"- {record.stage.name}: {record.status.value}" + (f" ({_cell(record.note)})" if record.note else "")
            for record in facts.deployment.stages
        ]
    for name, log in list(facts.logs.items())[:2]:
        lines += ["", f"### Last lines of {name}", "", *_fenced(list(log)[-SUMMARY_LOG_LINES:])]
    lines += ["", f"Everything else is in the bundle of {facts.issue}: `servicing issue download {facts.agent} {facts.issue}`."]
    text = "\n".join(lines)
    if len(text) > SUMMARY_CHARACTERS_MAX:
        text = text[:SUMMARY_CHARACTERS_MAX] + "\n\n… cut; the bundle has all of it"
    return f"{text}\n\n<!-- servicing-issue: {facts.issue} -->\n"


def _rows(facts: Facts) -> Sequence[tuple[str, object]]:
    deployment = facts.deployment
    head: list[tuple[str, object]] = [("agent", facts.agent), ("reported by", facts.actor), ("at", f"{facts.at:%Y-%m-%d %H:%M:%S} UTC")]
    if deployment is None:
        return [*head, ("software", ", ".join(f"{name} {version}" for name, version in facts.software.items()))]
    impact = impact_view(deployment.impact)
    trigger = describe(deployment.trigger) if deployment.trigger is not None else {}
    return [
        *head,
        ("deployment", deployment.deployment),
        ("versions", f"{deployment.from_version or 'none'} → {deployment.to_version}"),
        ("strategy", deployment.spec.strategy),
        ("outcome", deployment.status.value),
        ("asked for by", f"{deployment.actor}: {deployment.reason}"),
        ("taken back because", deployment.trigger.reason if deployment.trigger is not None else deployment.message),
        ("in stage", trigger.get("stage")),
        ("measured", f"{trigger.get('metric')} {trigger.get('value')}, limit {trigger.get('threshold')}" if trigger.get("metric") else ""),
        ("verdict", deployment.judgement.sentence if deployment.judgement is not None else ""),
        ("impact", ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in impact.items())),
        ("software", ", ".join(f"{name} {version}" for name, version in facts.software.items())),
        ("not readable", "; ".join(facts.missing)),
    ]


def _cell(value: object) -> str:
    """One cell of a table, and no markup: what it quotes was written by agents and people."""
    text = " ".join(str(value).split())
    return re.sub(r"([\\`*_|<>\[\]@#])", r"\\\1", text)


def _fenced(lines: Sequence[str]) -> Sequence[str]:
    """Between fences that are longer than any in the text."""
    longest = max((len(run) for line in lines for run in re.findall(r"`+", line)), default=0)
    fence = "`" * max(3, longest + 1)
    return [f"{fence}text", *lines, fence]
