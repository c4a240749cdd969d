"""Staging, whole: a version is tried beside the live one with real processes, and nothing of it is left, however it ends."""

import json
import os
import resource
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.sync.client import connect

from tests.e2e.harness import Server, a_server, a_version, an_agent, wait_for

pytestmark = pytest.mark.timeout(600)

TESTS = """
[state]
directory = "state"
writes = 1
reads = [1]
[tests]
smoke = ["pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "smoke.py", "--junitxml={junit}"]
integration = ["python", "integration.py", "{junit}"]
"""
SMOKE = textwrap.dedent("""
    import json, os, time, urllib.request

    def ask():
        time.sleep(float(os.environ.get("SMOKE_SECONDS", "0")))
        return json.load(urllib.request.urlopen(URL + "/anything"))

    URL = os.environ["SERVICING_ROUTER_URL"]

    def test_it_is_the_new_one():
        assert ask()["version"] == "1.1.0"

    def test_it_remembers():
        print("looking for what it remembers")
        assert REMEMBERS
""")
REPORT = '<testsuite><testcase classname="whole" name="story" time="0.5"/></testsuite>'
INTEGRATION = f"import sys, pathlib\npathlib.Path(sys.argv[1]).write_text('{REPORT}')\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("staging")) as running:
        yield running


def with_tests(
    server: Server, agent: str, *, smoke: str = "REMEMBERS = True", extra: str = "", tests: str = TESTS, **behaviour: Any
) -> None:
    source = an_agent(server, agent=agent, instances=1, extra=extra + tests)
    a_version(source, "1.1.0", **behaviour)
    (source / "1.1.0" / "smoke.py").write_text(SMOKE + smoke + "\n")
    (source / "1.1.0" / "integration.py").write_text(INTEGRATION)
    server.post(f"/agents/{agent}/versions/refresh", expect=200)


def a_run(server: Server, agent: str, **options: Any) -> str:
    name: str = server.post(f"/agents/{agent}/staging", {"version": "1.1.0", **options})["run_id"]
    return name


def ended(server: Server, agent: str, run: str, *, seconds: float = 120) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        found: dict[str, Any] = server.get(f"/agents/{agent}/staging/{run}")
        return found if found["status"] in ("completed", "failed") else None

    done: dict[str, Any] = wait_for(f"{run} to end", look, seconds=seconds)
    return done


def of_staging(server: Server) -> list[psutil.Process]:
    """Processes whose environment says that they belong to staging."""
    folder, found = str(server.data_dir / "staging"), []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SERVICING_DATA_DIR") == folder and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def nothing_is_left(server: Server) -> None:
    wait_for("staging's processes to be gone", lambda: not of_staging(server))
    # os.walk passes over a folder that goes while it is being read, as these do.
    wait_for("staging's files to be gone", lambda: not any(files for _, _, files in os.walk(server.data_dir / "staging")))
    assert list(server.data_dir.glob("agents/*/snapshots/stg-*")) == []


def suite(view: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each for each in view["suites"] if each["suite"] == name)
    return found


def test_a_version_that_passes_its_tests_is_safe_to_deploy_and_says_so_with_the_version(server: Server) -> None:
    with_tests(server, "Good")
    run = a_run(server, "Good", suites=["smoke", "integration"])
    done = ended(server, "Good", run)
    assert (done["status"], done["recommendation"]) == ("completed", "safe_to_deploy"), done
    assert done["test_results"]["smoke_tests"] == "2/2 passed"
    assert done["test_results"]["integration_tests"] == "1/1 passed"
    assert suite(done, "integration")["cases"][0]["name"] == "whole::story"
    versions = {each["version"]: each for each in server.get("/agents/Good/versions")["versions"]}
    assert versions["1.1.0"]["test_results"] == {**done["test_results"]}
    assert server.share(agent="Good", requests=5) == {"1.0.0"}
    nothing_is_left(server)


def test_a_failed_case_has_its_message_its_trace_and_what_it_printed(server: Server) -> None:
    with_tests(server, "Bad", smoke="REMEMBERS = []")
    done = ended(server, "Bad", a_run(server, "Bad", suites=["smoke"]))
    assert (done["status"], done["recommendation"]) == ("completed", "issues_detected"), done
    case = next(each for each in suite(done, "smoke")["cases"] if each["status"] == "failed")
    assert case["name"].endswith("::test_it_remembers")
    assert "assert REMEMBERS" in case["trace"]
    assert "test_it_remembers" in done["reasons"][0]
    assert done["test_results"]["smoke_tests"] == "1/2 passed"
    nothing_is_left(server)


def test_a_version_that_does_not_start_is_an_issue_with_its_last_words(server: Server) -> None:
    with_tests(server, "Dead", health=500, extra="")
    server.post("/agents/Dead/versions/refresh", expect=200)
    done = ended(server, "Dead", a_run(server, "Dead"))
    assert (done["status"], done["recommendation"]) == ("completed", "issues_detected"), done
    assert "GET /healthz answered 500" in done["reasons"][0]
    assert suite(done, "smoke")["status"] == "skipped"
    nothing_is_left(server)


def test_without_tests_nothing_was_checked_and_nothing_is_called_safe(server: Server) -> None:
    with_tests(server, "Bare", tests="")
    done = ended(server, "Bare", a_run(server, "Bare"))
    assert (done["status"], done["recommendation"]) == ("completed", "issues_detected"), done
    assert done["reasons"] == ["No tests: nothing was checked."]


def test_a_server_that_is_killed_begins_the_run_anew_and_leaves_nothing(server: Server) -> None:
    with_tests(server, "Killed", extra='[run.env]\nSMOKE_SECONDS = "3"\n')
    run = a_run(server, "Killed", suites=["smoke"])
    wait_for("the smoke tests", lambda: server.get(f"/agents/Killed/staging/{run}")["phase"] == "smoke")
    server.kill()
    server.start()
    done = ended(server, "Killed", run)
    assert (done["status"], done["recommendation"]) == ("completed", "safe_to_deploy"), done
    assert done["attempts"] == 2
    assert "begun anew" in done["notes"][0]
    nothing_is_left(server)


def test_a_cancelled_run_ends_at_once_with_everything_it_started(server: Server) -> None:
    with_tests(server, "Cancelled", extra='[run.env]\nSMOKE_SECONDS = "60"\n')
    run = a_run(server, "Cancelled", suites=["smoke"])
    second = a_run(server, "Cancelled", suites=["integration"])
    wait_for("the smoke tests", lambda: server.get(f"/agents/Cancelled/staging/{run}")["phase"] == "smoke")
    assert server.get(f"/agents/Cancelled/staging/{second}")["status"] == "queued"
    with server.api() as api:
        assert api.delete(f"/agents/Cancelled/staging/{run}", params={"reason": "not needed"}).status_code == 202
    done = ended(server, "Cancelled", run, seconds=30)
    assert (done["status"], done["recommendation"], done["message"]) == ("failed", None, "cancelled by admin"), done
    assert ended(server, "Cancelled", second)["recommendation"] == "safe_to_deploy"
    nothing_is_left(server)


def test_the_command_follows_a_run_and_ends_with_its_verdict(server: Server) -> None:
    with_tests(server, "Typed", smoke="REMEMBERS = None")
    done = server.run("test", "Typed", "1.1.0", "--suite", "smoke", "--watch", expect=1)
    assert "❌ Issues detected" in done.stdout
    assert "test_it_remembers" in done.stdout
    view = json.loads(server.run("test", "Typed", "1.1.0", "--suite", "integration", "--watch", "--json").stdout)
    assert view["recommendation"] == "safe_to_deploy"
    assert "integration 1/1 passed" in server.run("staging", "list", "Typed").stdout
    assert "has no version 9.9.9" in server.run("test", "Typed", "9.9.9", expect=1).stderr


def test_requests_reach_no_staging_instance(server: Server) -> None:
    with_tests(server, "Apart", extra='[run.env]\nSMOKE_SECONDS = "2"\n')
    run = a_run(server, "Apart", suites=["smoke"])
    wait_for("the smoke tests", lambda: server.get(f"/agents/Apart/staging/{run}")["phase"] == "smoke")
    with httpx.Client() as client:
        seen = {client.get(f"{server.router_url}/Apart/").json()["version"] for _ in range(30)}
    assert seen == {"1.0.0"}
    assert [each["version"] for each in server.get("/agents/Apart/instances")["instances"]] == ["1.0.0"]
    assert ended(server, "Apart", run)["recommendation"] == "safe_to_deploy"


def test_a_copied_state_is_the_live_one_and_changing_it_changes_nothing_live(server: Server, tmp_path: Path) -> None:
    with_tests(
        server,
        "Stateful",
        smoke="import pathlib\nKEPT = pathlib.Path(os.environ['STATE'])\nREMEMBERS = True",
        extra='[run.env]\nSTATE = "{state}"\n',
    )
    live = server.data_dir / "agents" / "Stateful" / "state"
    (live / "memory.txt").write_text("from production")
    run = a_run(server, "Stateful", suites=["smoke"], keep_seconds=60)
    done = ended(server, "Stateful", run)
    copied = list((server.data_dir / "staging").glob("agents/Stateful/state@*/memory.txt"))
    assert [path.read_text() for path in copied] == ["from production"], done
    copied[0].write_text("from staging")
    assert (live / "memory.txt").read_text() == "from production"
    with server.api() as api:
        api.delete(f"/agents/Stateful/staging/{run}")
    nothing_is_left(server)


def test_what_is_limited_in_production_is_limited_in_staging(server: Server) -> None:
    with_tests(server, "Bounded")
    with server.api() as api:
        body = {"config_updates": {"servicing": {"resources": {"memory_mb": 700}}}, "reason": "a small machine"}
        assert api.patch("/agents/Bounded/config", json=body).json()["status"] == "applied"
    run = a_run(server, "Bounded", suites=["smoke"], keep_seconds=60)
    assert ended(server, "Bounded", run)["recommendation"] == "safe_to_deploy"
    assert {resource.prlimit(process.pid, resource.RLIMIT_DATA)[0] for process in of_staging(server)} == {700 * 1024 * 1024}
    with server.api() as api:
        api.delete(f"/agents/Bounded/staging/{run}")
    nothing_is_left(server)


def test_the_gate_lets_only_a_version_through_that_passed_and_an_admin_past_it(server: Server) -> None:
    with_tests(server, "Gated", smoke="REMEMBERS = os.path.exists('passes')")
    server.run("staging", "gate", "Gated", "--required", "--reason", "nothing untried")
    assert "is needed" in server.run("staging", "gate", "Gated").stdout
    upgrade = ["upgrade", "Gated", "1.1.0", "--reason", "a test", "--steps", "100", "--monitor-seconds", "0", "--no-verify"]
    assert "has none that has ended" in server.run(*upgrade, expect=1).stderr
    assert "staging_required" in server.run(*upgrade, "--dry-run", "--json", expect=1).stdout
    assert ended(server, "Gated", a_run(server, "Gated", suites=["smoke"]))["recommendation"] == "issues_detected"
    assert "found issues" in server.run(*upgrade, expect=1).stderr
    plan = server.run(*upgrade, "--override-staging", "--dry-run").stdout
    assert "passes the staging gate" in plan
    (server.folder / "source-Gated" / "1.1.0" / "passes").touch()
    (server.data_dir / "agents" / "Gated" / "releases" / "1.1.0" / "passes").touch()
    assert ended(server, "Gated", a_run(server, "Gated", suites=["smoke"]))["recommendation"] == "safe_to_deploy"
    server.run(*upgrade, "--watch")
    kinds = [each["type"] for each in server.get("/agents/Gated/audit", limit=50)["events"]]
    assert {"staging_gate_changed", "staging_requested", "staging", "upgrade_requested"} <= set(kinds)


def test_a_case_by_hand_is_run_alone_and_changes_nothing_about_the_recommendation(server: Server) -> None:
    with_tests(server, "Hand", smoke="REMEMBERS = os.path.exists('passes')")
    run = a_run(server, "Hand", suites=["smoke"])
    report = ended(server, "Hand", run)
    case = next(each["case"] for each in suite(report, "smoke")["cases"] if each["status"] == "failed")
    assert "assert REMEMBERS" in server.run("staging", "case", "Hand", run, case, expect=1).stdout
    (server.data_dir / "agents" / "Hand" / "releases" / "1.1.0" / "passes").touch()
    assert "passed" in server.run("staging", "case", "Hand", run, case, "--reason", "again").stdout
    after = server.get(f"/agents/Hand/staging/{run}")
    assert [each["status"] for each in after["hand"]] == ["failed", "passed"]
    assert (after["recommendation"], after["suites"]) == ("issues_detected", report["suites"])
    assert "no case nonsense" in server.run("staging", "case", "Hand", run, "nonsense", expect=1).stderr
    nothing_is_left(server)


REQUESTS = """
[tests]
[[tests.requests]]
path = "/remember"
[[tests.requests]]
method = "POST"
path = "/recall"
json = { text = "hello" }
"""
QUICK = {"performance_seconds": 8, "load_target_rps": 20}


def test_a_slower_version_is_an_issue_with_figures(server: Server) -> None:
    with_tests(server, "Slow", tests=REQUESTS, delay=0.02)
    done = ended(server, "Slow", a_run(server, "Slow", suites=["performance"], **QUICK))
    assert (done["status"], done["recommendation"]) == ("completed", "issues_detected"), done
    assert done["comparison"]["overall"]["ratio"] > 1.5
    assert [each["name"] for each in done["comparison"]["requests"]] == ["GET /remember", "POST /recall"]
    assert "latency" in done["reasons"][0]
    assert done["test_results"]["performance_tests"] != "5/5 passed"
    nothing_is_left(server)


def test_a_version_as_fast_as_before_passes_and_its_knee_is_told(server: Server) -> None:
    with_tests(server, "Same", tests=REQUESTS.replace("[tests]", '[tests]\nsmoke = ["pytest", "-q", "smoke.py", "--junitxml={junit}"]'))
    began = server.run(
        "test", "Same", "1.1.0", "--performance-seconds", "8", "--load-target-rps", "20", "--tolerance-percent", "50", "--watch"
    )
    assert "✅ Safe to deploy" in began.stdout
    assert "its knee is at" in began.stdout
    done = server.get("/agents/Same/staging", limit=1)["runs"][0]
    assert done["test_results"]["load_tests"] == "1/1 passed"
    assert done["load"]["steps"][0]["target_rps"] == 5
    assert done["comparison"]["sent"] > 50
    nothing_is_left(server)


def test_a_version_that_fails_requests_is_an_issue(server: Server) -> None:
    with_tests(server, "Wrong", tests=REQUESTS, fail_every=10)
    done = ended(server, "Wrong", a_run(server, "Wrong", suites=["performance"], **QUICK))
    assert done["recommendation"] == "issues_detected"
    case = next(each for each in suite(done, "performance")["cases"] if each["name"] == "errors")
    assert case["status"] == "failed"
    assert "answered 500 instead of 200" in case["message"]


def test_a_version_that_dies_under_load_is_an_issue(server: Server) -> None:
    with_tests(server, "Dies", tests=REQUESTS, die_after=30)
    done = ended(server, "Dies", a_run(server, "Dies", suites=["load"], **QUICK))
    assert (done["status"], done["recommendation"]) == ("completed", "issues_detected"), done
    start = suite(done, "start")
    assert [each["status"] for each in start["cases"]] == ["passed", "passed", "failed"]
    nothing_is_left(server)


def test_golden_requests_are_asked_of_the_version_and_the_first_difference_is_named(server: Server) -> None:
    golden = '[[tests.recall]]\nname = "{0}"\npath = "/x"\nexpect_json = {{ version = "{1}" }}\n'
    with_tests(server, "Golden", tests=golden.format("the new one", "1.1.0") + golden.format("another", "7.7.7"))
    run = a_run(server, "Golden", suites=["recall"])
    done = ended(server, "Golden", run)
    assert done["recommendation"] == "issues_detected"
    good, bad = suite(done, "recall")["cases"]
    assert (good["name"], good["status"]) == ("the new one", "passed")
    assert bad["message"] == "the answer.version is '1.1.0' instead of '7.7.7'"
    assert '"version": "1.1.0"' in bad["log"]
    assert "passed" in server.run("staging", "case", "Golden", run, good["case"]).stdout


def test_tests_that_hang_leave_processes_and_print_megabytes_are_ended_and_bounded(server: Server) -> None:
    hang = "import os, subprocess, sys, time\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True)\n"
    flood = "sys.stdout.write('x' * 5_000_000)\nsys.stdout.flush()\n"
    with_tests(server, "Hangs", tests='[tests]\nsmoke = ["python", "hang.py"]\nintegration = ["python", "flood.py"]\n')
    folder = server.folder / "source-Hangs" / "1.1.0"
    (folder / "hang.py").write_text(hang + "time.sleep(600)\n")
    (folder / "flood.py").write_text(hang + flood)
    server.post("/agents/Hangs/versions/refresh", expect=200)
    done = ended(server, "Hangs", a_run(server, "Hangs", suites=["smoke", "integration"], suite_timeout_seconds=3))
    assert "longer than 3 s" in suite(done, "smoke")["message"]
    assert suite(done, "integration")["status"] == "passed"
    assert len(json.dumps(done)) < 50_000
    nothing_is_left(server)


def test_live_progress_comes_as_events_with_the_runs_id(server: Server) -> None:
    with_tests(server, "Live")
    run = a_run(server, "Live", suites=["smoke"])
    ended(server, "Live", run)
    url = server.info["api_url"].replace("http", "ws") + "/ws/agent-upgrades"
    token = (server.data_dir / "admin.token").read_text().strip()
    seen: list[dict[str, Any]] = []
    with connect(url, additional_headers={"Authorization": f"Bearer {token}"}) as socket:
        socket.send(json.dumps({"action": "subscribe", "agent_id": "Live", "since": 0}))
        while not seen or seen[-1]["event"] != "staging_completed":
            seen.append(json.loads(socket.recv(timeout=30)))
    told = [event for event in seen if event.get("run_id") == run and event["event"].startswith("staging_")]
    kinds = list(dict.fromkeys(event["event"] for event in told if not event["event"].endswith("requested")))
    assert kinds == ["staging_started", "staging_case", "staging_suite", "staging_completed"]
    assert told[-1]["recommendation"] == "safe_to_deploy"
