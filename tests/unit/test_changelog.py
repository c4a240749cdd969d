"""Commit messages to changelog lines."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_servicing.core.changelog import LINE_MAX_CHARS, changes
from agent_servicing.core.versions import Change


def lines(*messages: str) -> list[tuple[str, str]]:
    return [(change.kind, change.text) for change in changes(messages)]


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        ("feat: retry with exponential backoff", "added", "Retry with exponential backoff"),
        ("fix: workflow timeout handling", "fixed", "Workflow timeout handling"),
        ("fix(cache): keep the newest entry", "fixed", "cache: keep the newest entry"),
        ("perf: run steps in parallel", "improved", "Run steps in parallel"),
        ("refactor: one way to store", "improved", "One way to store"),
        ("FIX: shouting is fine too", "fixed", "Shouting is fine too"),
        ("security: check the token's audience", "security", "Check the token's audience"),
        ("fix(security): check the token's audience", "security", "Check the token's audience"),
        ("fix: limit the body\n\nSecurity: high", "security", "Limit the body"),
        ("chore(deps): newer parser\n\nCloses CVE-2024-12345.", "security", "deps: newer parser (CVE-2024-12345)"),
        ("fix: close cve-2024-12345", "security", "Close cve-2024-12345"),
        ("feat!: remove /v1", "breaking", "Remove /v1"),
        ("chore!: Python 3.11 is needed", "breaking", "Python 3.11 is needed"),
        ("revert: retry with backoff", "other", "Revert: retry with backoff"),
        ("Make it work", "other", "Make it work"),
        ("wip", "other", "Wip"),
        ("http://example.org is no type", "other", "Http://example.org is no type"),
    ],
)
def test_a_commit_becomes_a_line_of_its_kind(message: str, kind: str, text: str) -> None:
    assert lines(message) == [(kind, text)]


def test_a_breaking_note_stands_beside_the_change_itself() -> None:
    message = "feat(api): a new way to remember\n\nA story.\n\nBREAKING CHANGE: /v1/remember is gone,\nuse /remember\nRefs: 12"
    assert lines(message) == [("breaking", "/v1/remember is gone, use /remember"), ("added", "api: a new way to remember")]


def test_a_breaking_note_is_found_in_any_paragraph_and_in_any_commit() -> None:
    assert lines("Tidy up\n\nBREAKING-CHANGE: no more XML\n\nThe end.") == [
        ("breaking", "no more XML"),
        ("other", "Tidy up"),
    ]


def test_housekeeping_is_left_out_while_there_is_something_to_tell() -> None:
    assert lines("docs: spelling", "fix: a leak", "chore: release 1.2.3", "Merge branch 'main'") == [("fixed", "A leak")]


def test_housekeeping_is_told_when_there_is_nothing_else() -> None:
    assert lines("docs: spelling", "Merge branch 'main'", "ci: faster") == [("other", "Spelling"), ("other", "Faster")]


def test_a_mention_of_a_vulnerability_in_documentation_repairs_nothing() -> None:
    assert lines("docs: explain CVE-2024-12345", "fix: a leak") == [("fixed", "A leak")]


def test_the_same_line_is_told_once() -> None:
    assert lines("fix: a leak", "fix: a leak") == [("fixed", "A leak")]


def test_no_commits_make_no_changelog() -> None:
    assert lines() == []
    assert lines("", "  \n ") == []


def test_a_very_long_subject_is_cut() -> None:
    ((_, text),) = lines("fix: " + "x" * 10_000)
    assert len(text) == LINE_MAX_CHARS
    assert text.endswith("…")


@settings(deadline=None)
@given(st.lists(st.text(max_size=200), max_size=5))
def test_any_text_is_taken_without_complaint(messages: list[str]) -> None:
    for change in changes(messages):
        assert isinstance(change, Change)
        assert change.text
        assert "\n" not in change.text
