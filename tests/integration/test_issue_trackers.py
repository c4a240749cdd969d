"""Opening issues over HTTP, against a local server that checks what arrives as GitHub and GitLab document it."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from agent_servicing.adapters.issue_trackers import IssueTrackers
from agent_servicing.core.errors import PermanentError, TemporaryError
from agent_servicing.core.outward import TrackerSettings
from agent_servicing.ports.outward import Filing
from tests.integration.receivers import Receiver, Reply, Taken, free_port, http_receiver

pytestmark = pytest.mark.anyio

FILING = Filing(
    key="iss-1", agent="WowCache", deployment="upg-1", title="WowCache: rolled back", text="why\n<!-- iss-1 -->", reporter="ada", at="now"
)
TOKEN = "S3ntinel-token"
GITHUB = TrackerSettings(kind="github", project="wow/cache", labels=("servicing", "bug"))
GITLAB = TrackerSettings(kind="gitlab", project="wow/deep/cache", labels=("servicing", "bug"))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as server:
        yield server


def created(**fields: str) -> Reply:
    return Reply(status=201, body=json.dumps(fields).encode())


async def test_an_issue_is_opened_at_github(receiver: Receiver) -> None:
    receiver.reply = lambda _: created(html_url="https://github.example.org/wow/cache/issues/7")
    url = await IssueTrackers().open(replace(GITHUB, base_url=receiver.url), TOKEN, FILING)
    assert url == "https://github.example.org/wow/cache/issues/7"
    (request,) = receiver.taken
    assert (request.method, request.path) == ("POST", "/repos/wow/cache/issues")
    assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert request.headers["accept"] == "application/vnd.github+json"
    assert request.headers["x-github-api-version"] == "2022-11-28"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"], "GitHub refuses requests without one"
    assert request.json == {"title": FILING.title, "body": FILING.text, "labels": ["servicing", "bug"]}


async def test_an_issue_is_opened_at_gitlab(receiver: Receiver) -> None:
    receiver.reply = lambda _: created(web_url="https://gitlab.example.org/wow/deep/cache/-/issues/7")
    url = await IssueTrackers().open(replace(GITLAB, base_url=receiver.url), TOKEN, FILING)
    assert url == "https://gitlab.example.org/wow/deep/cache/-/issues/7"
    (request,) = receiver.taken
    assert (request.method, request.path) == ("POST", "/api/v4/projects/wow%2Fdeep%2Fcache/issues")
    assert request.headers["private-token"] == TOKEN
    assert request.json == {"title": FILING.title, "description": FILING.text, "labels": "servicing,bug"}


async def test_a_webhook_gets_the_report_signed_and_under_a_key(receiver: Receiver) -> None:
    url = await IssueTrackers().open(TrackerSettings(kind="webhook", base_url=f"{receiver.url}/hook"), TOKEN, FILING)
    assert url == ""
    (request,) = receiver.taken
    assert (request.method, request.path, request.headers["idempotency-key"]) == ("POST", "/hook", "iss-1")
    expected = hmac.new(TOKEN.encode(), request.body, hashlib.sha256).hexdigest()
    assert request.headers["x-servicing-signature-256"] == f"sha256={expected}"
    assert request.json["event"] == "issue_reported"
    assert (request.json["agent_id"], request.json["upgrade_id"], request.json["text"]) == ("WowCache", "upg-1", FILING.text)


async def test_an_issue_that_is_there_already_is_found(receiver: Receiver) -> None:
    def github(request: Taken) -> Reply:
        assert request.method == "GET"
        assert request.path.startswith("/repos/wow/cache/issues?state=all&sort=created&direction=desc")
        other = {"body": None, "html_url": "https://x.example.org/8"}
        mine = {"body": FILING.text, "html_url": "https://x.example.org/7"}
        return Reply(body=json.dumps([other, mine]).encode())

    receiver.reply = github
    assert await IssueTrackers().find(replace(GITHUB, base_url=receiver.url), TOKEN, FILING) == "https://x.example.org/7"
    receiver.reply = lambda _: Reply(body=b"[]")
    assert await IssueTrackers().find(replace(GITLAB, base_url=receiver.url), TOKEN, FILING) is None
    assert receiver.taken[-1].path.startswith("/api/v4/projects/wow%2Fdeep%2Fcache/issues?search=iss-1&in=description")


async def test_whether_a_tracker_would_take_a_report_is_asked_without_opening_one(receiver: Receiver) -> None:
    receiver.reply = lambda _: Reply(body=b'{"has_issues": true, "issues_enabled": true}')
    await IssueTrackers().check(replace(GITHUB, base_url=receiver.url), TOKEN, "wow/cache")
    await IssueTrackers().check(replace(GITLAB, base_url=receiver.url), TOKEN, "wow/deep/cache")
    hub, lab = receiver.taken
    assert (hub.method, hub.path, hub.headers["authorization"]) == ("GET", "/repos/wow/cache", f"Bearer {TOKEN}")
    assert (lab.method, lab.path, lab.headers["private-token"]) == ("GET", "/api/v4/projects/wow%2Fdeep%2Fcache", TOKEN)
    await IssueTrackers().check(TrackerSettings(kind="webhook", base_url=f"{receiver.url}/hook"), TOKEN, "")
    hook = receiver.taken[-1]
    assert (hook.method, hook.path, hook.json) == ("POST", "/hook", {"event": "test"})
    signature = hmac.new(TOKEN.encode(), hook.body, hashlib.sha256).hexdigest()
    assert hook.headers["x-servicing-signature-256"] == f"sha256={signature}"
    assert "idempotency-key" not in hook.headers


@pytest.mark.parametrize(
    ("status", "body", "problem"),
    [
        (401, b'{"message": "Bad credentials"}', "401: Bad credentials"),
        (404, b'{"message": "Not Found"}', "404: Not Found"),
        (200, b'{"has_issues": false, "issues_enabled": false}', "issues are turned off in that project"),
        (200, b"<html>Welcome</html>", "no such issue tracker"),
    ],
)
async def test_a_tracker_that_would_not_take_a_report_says_why(receiver: Receiver, status: int, body: bytes, problem: str) -> None:
    receiver.reply = lambda _: Reply(status=status, body=body)
    for settings in (GITHUB, GITLAB):
        with pytest.raises(PermanentError, match=problem):
            await IssueTrackers().check(replace(settings, base_url=receiver.url), TOKEN, settings.project)


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (401, {}, PermanentError),
        (403, {}, PermanentError),
        (403, {"X-RateLimit-Remaining": "0"}, TemporaryError),
        (404, {}, PermanentError),
        (410, {}, PermanentError),
        (422, {}, PermanentError),
        (429, {}, TemporaryError),
        (500, {}, TemporaryError),
        (502, {}, TemporaryError),
        (301, {"Location": "http://127.0.0.1:1/"}, PermanentError),
    ],
)
async def test_what_may_work_later_is_told_from_what_never_will(
    receiver: Receiver, status: int, headers: dict[str, str], error: type[Exception]
) -> None:
    receiver.reply = lambda _: Reply(status=status, headers=headers, body=b'{"message": "Validation Failed"}')
    with pytest.raises(error, match=str(status)) as caught:
        await IssueTrackers().open(replace(GITHUB, base_url=receiver.url), TOKEN, FILING)
    assert TOKEN not in str(caught.value)
    assert "Validation Failed" in str(caught.value)
    assert len(receiver.taken) == 1


async def test_a_tracker_that_is_not_there_or_answers_nonsense(receiver: Receiver) -> None:
    with pytest.raises(TemporaryError, match="cannot be reached"):
        await IssueTrackers().open(replace(GITHUB, base_url=f"http://127.0.0.1:{free_port()}"), TOKEN, FILING)
    with pytest.raises(TemporaryError, match="cannot be reached"):
        await IssueTrackers().open(replace(GITHUB, base_url="http://no-such-host.invalid"), TOKEN, FILING)
    for body in (b"<html>", b"[]", b'{"html_url": "javascript:alert(1)"}', b'{"html_url": 7}'):
        receiver.reply = lambda _, body=body: Reply(status=201, body=body)  # type: ignore[misc]
        assert await IssueTrackers().open(replace(GITHUB, base_url=receiver.url), TOKEN, FILING) == ""
    receiver.reply = lambda _: Reply(status=201, body=b" " * (5 * 1024 * 1024))
    with pytest.raises(TemporaryError, match="no end"):
        await IssueTrackers().open(replace(GITHUB, base_url=receiver.url), TOKEN, FILING)
