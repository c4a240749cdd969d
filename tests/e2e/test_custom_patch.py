"""A custom patch from the command line into production and back, on real parts and under load."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.harness import Server, a_server, an_agent
from tests.e2e.load import Load

pytestmark = pytest.mark.timeout(600)

DIFF = """--- /dev/null
+++ b/notes.txt
@@ -0,0 +1 @@
+patched
--- a/behaviour.json
+++ b/behaviour.json
@@ -1 +1 @@
-{}
\\ No newline at end of file
+{"patched": true}
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("patched")) as running:
        yield running


def test_a_patch_is_uploaded_deployed_and_taken_back_without_losing_a_request(server: Server, tmp_path: Path) -> None:
    an_agent(server, agent="Patched")
    file = tmp_path / "fix.diff"
    file.write_text(DIFF.replace("{}", '{"x": 1}'))
    refused = server.run("version", "upload", "Patched", str(file), "--reason", "a test", expect=1)
    assert "behaviour.json" in refused.stderr
    assert "hunk 1 of 1" in refused.stderr
    file.write_text(DIFF)
    done = server.run("version", "upload", "Patched", str(file), "--reason", "a test", "--change", "fix: a leak")
    assert "Patched has 1.0.0+patch.1 now, on 1.0.0." in done.stdout
    assert "added notes.txt +1 -0" in done.stdout
    with Load(server.router_url, "Patched") as load:
        assert server.outcome(server.upgrade("1.0.0+patch.1", agent="Patched"), agent="Patched")["status"] == "completed"
        assert server.share(agent="Patched") == {"1.0.0+patch.1"}
        (release,) = (server.data_dir / "agents/Patched/releases").glob("1.0.0+patch.1")
        assert (release / "notes.txt").read_text() == "patched\n"
        assert "in use" in server.run("version", "remove", "Patched", "1.0.0+patch.1", "--reason", "x", expect=1).stderr
        server.run("rollback", "Patched", "--reason", "a test", "--watch")
        assert server.share(agent="Patched") == {"1.0.0"}
    assert load.lost == []
    server.run("version", "withdraw", "Patched", "1.0.0+patch.1", "--reason", "was only a test")
    assert "withdrawn" in server.run("upgrade", "Patched", "1.0.0+patch.1", "--reason", "again", expect=1).stderr
