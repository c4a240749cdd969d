"""Commit messages in, changelog lines out: Conventional Commits mapped to the kinds readers look for. The git source calls it; pure.

Our own reading of the one-line grammar, because no library fits: those made for the field (commitizen, git-changelog, git-cliff) are
programs that read a repository themselves and render a document, and the core imports the standard library only.

| commit | line |
|---|---|
| `feat` | added |
| `fix`, `hotfix` | fixed |
| `perf`, `refactor`, `improve`, `improvement` | improved |
| type or scope `security`/`sec`, a `Security:` footer, or a CVE number | security |
| `!` after the type, or a `BREAKING CHANGE:` footer | breaking, with the footer's text |
| `chore`, `docs`, `ci`, `test`, `build`, `style`, `release`, merges, `fixup!` | left out, unless there is nothing else to say |
| anything else, conventional or not | other |
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agent_servicing.core.versions import Change

LINE_MAX_CHARS = 300
"""Longest changelog line; longer ones are cut, the commit has the rest."""

MESSAGE_MAX_CHARS = 20_000
"""How much of one commit message is read."""

_KINDS = {
    "feat": "added",
    "feature": "added",
    "fix": "fixed",
    "bugfix": "fixed",
    "hotfix": "fixed",
    "perf": "improved",
    "refactor": "improved",
    "improve": "improved",
    "improvement": "improved",
    "security": "security",
    "sec": "security",
}
_HOUSEKEEPING = frozenset({"chore", "docs", "doc", "ci", "test", "tests", "build", "style", "release", "merge"})
_HEADER = re.compile(r"(?P<type>[A-Za-z][\w-]*)(?:\((?P<scope>[^()\r\n]*)\))?(?P<bang>!)?:[ \t]+(?P<text>\S.*)")
_FOOTER = re.compile(r"(BREAKING[ -]CHANGE|[A-Za-z][A-Za-z-]*)(?::[ \t]+|[ \t]+#)(\S.*)")
_CVE = re.compile(r"\bCVE-[0-9]{4}-[0-9]{4,7}\b", re.IGNORECASE)
_MERGE = re.compile(r"Merge (branch|pull request|tag|remote|commit)|(fixup|squash|amend)! ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """One message taken apart. `type` is lower case and empty when the subject is not conventional; footers are (token, text)."""

    type: str = ""
    scope: str = ""
    breaking: bool = False
    text: str
    footers: tuple[tuple[str, str], ...] = ()
    cves: tuple[str, ...] = ()


def changes(messages: Iterable[str]) -> tuple[Change, ...]:
    """The changelog of these commits, in their order, without repetitions; housekeeping only when there is nothing else."""
    commits = [parse_commit(message) for message in messages]
    told = [change for commit in commits if commit for change in _changes(commit)]
    if not told:
        told = [Change(kind="other", text=_line(commit)) for commit in commits if commit and commit.type != "merge"]
    return tuple(dict.fromkeys(told))


def parse_commit(message: str) -> Commit | None:
    """One commit message; None when it is empty."""
    subject, *body = message[:MESSAGE_MAX_CHARS].strip().splitlines() or [""]
    subject = subject.strip()
    if not subject:
        return None
    footers = _footers(body)
    cves = tuple(dict.fromkeys(cve.upper() for cve in _CVE.findall(message[:MESSAGE_MAX_CHARS])))
    if _MERGE.match(subject):
        return Commit(type="merge", text=subject)
    header = _HEADER.fullmatch(subject)
    noted = any(_is_breaking(token) for token, _ in footers)
    if header is None:
        return Commit(text=subject, breaking=noted, footers=footers, cves=cves)
    return Commit(
        type=header["type"].lower(),
        scope=(header["scope"] or "").strip(),
        breaking=bool(header["bang"]) or noted,
        text=header["text"].strip(),
        footers=footers,
        cves=cves,
    )


def _changes(commit: Commit) -> list[Change]:
    notes = [text for token, text in commit.footers if _is_breaking(token)]
    found = [Change(kind="breaking", text=_cut(note)) for note in notes]
    if commit.breaking and not notes:
        return [Change(kind="breaking", text=_line(commit))]
    kind = _kind(commit)
    if kind is not None:
        found.append(Change(kind=kind, text=_line(commit, cves=commit.cves)))
    return found


def _kind(commit: Commit) -> str | None:
    """None for housekeeping, unless it repairs a known vulnerability (`chore(deps): … CVE-…`)."""
    footer = any(token.lower() == "security" for token, _ in commit.footers)
    if footer or commit.scope.lower() in {"security", "sec"} or (commit.cves and commit.type not in {"docs", "doc", "test", "tests"}):
        return "security"
    return None if commit.type in _HOUSEKEEPING else _KINDS.get(commit.type, "other")


def _line(commit: Commit, cves: Sequence[str] = ()) -> str:
    """The description as a sentence; its scope in front unless the kind says the same; vulnerabilities it does not name behind."""
    scope = "" if commit.scope.lower() in {"", "security", "sec"} else f"{commit.scope}: "
    text = scope + commit.text if scope else commit.text[0].upper() + commit.text[1:]
    if commit.type and commit.type not in _KINDS and commit.type not in _HOUSEKEEPING:
        text = f"{commit.type.capitalize()}: {scope}{commit.text}"
    unnamed = [cve for cve in cves if cve not in text.upper()]
    return _cut(f"{text} ({', '.join(unnamed)})" if unnamed else text)


def _footers(body: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The footers of the last paragraph, and breaking notes wherever they stand; a footer goes on until the next one or a blank line."""
    last_paragraph = max((number for number, line in enumerate(body) if not line.strip()), default=-1)
    footers: list[tuple[str, str]] = []
    open_footer = False
    for number, line in enumerate(body):
        match = _FOOTER.fullmatch(line.rstrip())
        if match and (number > last_paragraph or _is_breaking(match[1])):
            footers.append((match[1], match[2].strip()))
            open_footer = True
        elif open_footer and line.strip():
            token, text = footers[-1]
            footers[-1] = (token, f"{text} {line.strip()}")
        else:
            open_footer = False
    return tuple(footers)


def _is_breaking(token: str) -> bool:
    return token in {"BREAKING CHANGE", "BREAKING-CHANGE"}


def _cut(text: str) -> str:
    return text if len(text) <= LINE_MAX_CHARS else text[: LINE_MAX_CHARS - 1] + "…"
