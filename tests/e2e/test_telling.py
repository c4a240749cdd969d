"""A version is taken back on real parts: the news of it reaches a webhook, and the report has the failing version's own words."""

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Server, a_server, a_version, an_agent, wait_for
from tests.e2e.load import Load
from tests.integration.receivers import Receiver, http_receiver

pytestmark = pytest.mark.timeout(600)

LAST_WORDS = "the index is broken, answering anyway"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with a_server(tmp_path) as running:
        yield running


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with http_receiver() as listening:
        yield listening


def test_a_rollback_is_told_and_reported_with_the_words_of_the_version_that_failed(
    server: Server, receiver: Receiver, tmp_path: Path
) -> None:
    source = an_agent(server, agent="Told")
    a_version(source, "1.1.0", fail_every=3)
    program = source / "1.1.0" / "program.py"
    program.write_text(f"{program.read_text()}\nprint({LAST_WORDS!r}, flush=True)\n")
    target = {"name": "hook", "url": receiver.address}
    rule = {"name": "bad-news", "targets": ["hook"], "kinds": ["deployment_rolled_back"]}
    with server.api() as api:
        set_to = api.put("/settings/notifications", json={"targets": [target], "rules": [rule]})
        assert set_to.status_code == 200, set_to.text
    server.post("/agents/Told/versions/refresh", expect=200)
    with Load(server.router_url, "Told"):
        done = server.outcome(server.upgrade("1.1.0", agent="Told"), agent="Told")
    assert done["status"] == "rolled_back", done
    wait_for("the webhook", lambda: receiver.taken)
    told = receiver.bodies()[0]
    assert told["title"] == "Told upgrade to v1.1.0 rolled back due to high error rate"
    assert "servicing issue report Told" in told["message"]
    assert told["type"] == "failure"
    issue = json.loads(server.run("issue", "report", "Told", "--note", "see the log", "--json").stdout)
    assert issue["upgrade_id"] == done["upgrade_id"]
    bundle = tmp_path / "report.zip"
    server.run("issue", "download", "Told", issue["issue_id"], "--to", str(bundle))
    with zipfile.ZipFile(bundle) as archive:
        logs = [archive.read(name).decode() for name in archive.namelist() if name.startswith("logs/g2-")]
    assert logs
    assert all(LAST_WORDS in log for log in logs)
    listed = json.loads(server.run("notifications", "--unread", "--json").stdout)
    assert "deployment_rolled_back" in {one["kind"] for one in listed["notifications"]}
