"""The verifier on real processes and real HTTP: whatever an agent's tests do, there is a verdict, and nothing of them is left running."""

import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import anyio
import psutil
import pytest

from agent_servicing.adapters.system import RandomIds
from agent_servicing.adapters.verification.asking import ALL_REQUESTS_SECONDS, REQUESTS_MAX, ask
from agent_servicing.adapters.verification.output import KEPT_BYTES
from agent_servicing.adapters.verification.verdict import DETAIL_CHARS, NOTHING
from agent_servicing.adapters.verification.verifier import ProcessVerifier
from agent_servicing.core.manifest import TestRequest
from agent_servicing.core.status import VerificationStatus
from agent_servicing.testing.clock import VirtualClock
from tests.integration import verification_world as world
from tests.integration.process_world import living, nothing_lives

pytestmark = pytest.mark.anyio

PASSED, FAILED, UNAVAILABLE = VerificationStatus.PASSED, VerificationStatus.FAILED, VerificationStatus.UNAVAILABLE
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_agent.py", "--junitxml={junit}")
TESTS = """
import os, urllib.request

def test_health():
    assert urllib.request.urlopen(os.environ["URL"] + "/healthz").status == 200

def test_recall():
    assert urllib.request.urlopen(os.environ["URL"] + "/recall").status == 200
"""


def fine(path: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
    return 200, {"X-Served-By": f"{world.AGENT}@{world.VERSION}/g1-1-1"}


def without_recall(path: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
    return (500 if path.endswith("/recall") else 200), {}


# --- smoke tests ---


async def test_tests_that_pass_at_the_production_address_are_counted(tmp_path: Path) -> None:
    release = world.installed(tmp_path, files={"test_agent.py": TESTS}, smoke=PYTEST, env={"URL": "{url}"})
    with world.data_plane(fine) as (url, asked, _):
        async with world.open_verifier(tmp_path, router_url=url) as verifier:
            await verifier.begin(release, key="upg-1")
            found = await world.ended(verifier)
    assert (found.status, found.passed, found.failed) == (PASSED, 2, 0)
    assert found.detail == "smoke tests: 2 of 2 passed"
    assert [path for _, path, _ in asked] == [f"/{world.AGENT}/healthz", f"/{world.AGENT}/recall"]


async def test_a_failing_test_is_named_with_its_reason_and_the_last_output(tmp_path: Path) -> None:
    request = TestRequest(path="/never")
    release = world.installed(tmp_path, files={"test_agent.py": TESTS}, smoke=PYTEST, env={"URL": "{url}"}, requests=[request])
    with world.data_plane(without_recall) as (url, asked, _):
        async with world.open_verifier(tmp_path, router_url=url) as verifier:
            await verifier.begin(release, key="upg-1")
            found = await world.ended(verifier)
    assert (found.status, found.passed, found.failed) == (FAILED, 1, 1)
    first, *tail = found.detail.splitlines()
    assert first.startswith("smoke tests: 1 of 2 passed; test_recall failed: urllib.error.HTTPError: HTTP Error 500")
    assert any("1 failed, 1 passed" in line for line in tail)
    assert f"/{world.AGENT}/never" not in [path for _, path, _ in asked], "the verdict was known already"


async def test_a_command_gets_the_environment_of_the_version_and_none_of_our_tokens(tmp_path: Path) -> None:
    code = "import json,os,sys; json.dump({'env': dict(os.environ), 'cwd': os.getcwd(), 'args': sys.argv[1:]}, open(sys.argv[1], 'w'))"
    told = tmp_path / "told.json"
    command = (sys.executable, "-c", code, str(told), "{url}", "{junit}", "{version}", "{unknown}")
    release = world.installed(tmp_path, smoke=command, env={"LEVEL": "{agent}"})
    folder = tmp_path / "agents" / world.AGENT / "releases" / world.VERSION
    (folder / ".venv" / "bin").mkdir(parents=True)
    environ = {**os.environ, "SERVICING_TOKEN": "secret", "AWS_SECRET_ACCESS_KEY": "secret", "NO_PROXY": "inside"}
    async with world.open_verifier(tmp_path, environ=environ) as verifier:
        await verifier.begin(release, key="upg-7")
        assert (await world.ended(verifier, "upg-7")).status is PASSED
    found = json.loads(told.read_text())
    environment = found["env"]
    assert "secret" not in environment.values()
    assert "SERVICING_INSTANCE_TOKEN" not in environment
    assert environment["PATH"].startswith(str(folder / ".venv" / "bin"))
    assert (environment["LEVEL"], environment["SERVICING_VERSION"], environment["SERVICING_VERIFICATION"]) == ("Tiny", "1.0.0", "upg-7")
    assert environment["SERVICING_ROUTER_URL"] == "http://127.0.0.1:1"
    assert environment["NO_PROXY"] == "inside,127.0.0.1,localhost"
    assert found["cwd"] == str(folder)
    assert found["args"][1] == f"http://127.0.0.1:1/{world.AGENT}"
    assert found["args"][2].endswith("junit.xml")
    assert found["args"][3:] == ["1.0.0", "{unknown}"]
    assert list((tmp_path / "verification").iterdir()) == []


async def test_nothing_to_verify_passes(tmp_path: Path) -> None:
    async with world.open_verifier(tmp_path) as verifier:
        await verifier.begin(world.release(), key="upg-1")
        found = await world.ended(verifier)
    assert (found.status, found.detail) == (PASSED, NOTHING)


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("no-such-program",), "command not found: no-such-program"),
        (("./plain.txt",), "no executable file"),
        (("./script",), "/no/such/interpreter"),
        (("sh", "-c", "exec no-such-program"), "not found"),
        (("python", "-m", "no_such_module"), "No module named no_such_module"),
    ],
)
async def test_a_command_that_cannot_be_started_says_nothing_about_the_version(tmp_path: Path, command: tuple[str, ...], says: str) -> None:
    release = world.installed(tmp_path, files={"plain.txt": "", "script": "#!/no/such/interpreter\n"}, smoke=command)
    (tmp_path / "agents" / world.AGENT / "releases" / world.VERSION / "script").chmod(0o755)
    async with world.open_verifier(tmp_path) as verifier:
        await verifier.begin(release, key="upg-1")
        found = await world.ended(verifier)
    assert found.status is UNAVAILABLE
    assert found.detail.startswith("smoke tests could not be run: ")
    assert says in found.detail or command[0] == "./script"


async def test_a_version_that_is_gone_says_nothing(tmp_path: Path) -> None:
    async with world.open_verifier(tmp_path) as verifier:
        await verifier.begin(world.release(smoke=("true",)), key="upg-1")
        assert (await world.ended(verifier)).status is UNAVAILABLE


async def test_requests_count_also_when_the_tests_cannot_be_run(tmp_path: Path) -> None:
    requests = [TestRequest(path="/healthz"), TestRequest(path="/recall")]
    release = world.installed(tmp_path, smoke=("no-such-program",), requests=requests)
    for answer, status in ((fine, UNAVAILABLE), (without_recall, FAILED)):
        with world.data_plane(answer) as (url, _, _):
            async with world.open_verifier(tmp_path, router_url=url) as verifier:
                await verifier.begin(release, key="upg-1")
                assert (await world.ended(verifier)).status is status


@pytest.mark.parametrize("xml", ["", "<testsuite", "<html/>", "<testsuites><testsuite><testcase/></testsuite>", "\0" * 5_000_000])
async def test_with_a_broken_report_the_exit_code_decides(tmp_path: Path, xml: str) -> None:
    release = world.installed(tmp_path, files={"junit.xml": xml}, smoke=("sh", "-c", "cp junit.xml {junit}; exit $CODE"))
    for code, status in (("0", PASSED), ("3", FAILED)):
        changed = world.release(smoke=release.manifest.tests.smoke, env={"CODE": code})
        async with world.open_verifier(tmp_path) as verifier:
            await verifier.begin(changed, key="upg-1")
            found = await world.ended(verifier)
        assert (found.status, found.passed, found.failed) == (status, 0, 0)


async def test_a_report_that_swells_when_it_is_read_does_no_harm(tmp_path: Path) -> None:
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10 if n else "lol" * 10}">' for n in range(10))
    xml = f"<?xml version='1.0'?><!DOCTYPE bomb [{entities}]><testsuite><testcase name='&l9;'/></testsuite>"
    release = world.installed(tmp_path, files={"junit.xml": xml}, smoke=("cp", "junit.xml", "{junit}"))
    async with world.open_verifier(tmp_path) as verifier:
        await verifier.begin(release, key="upg-1")
        assert (await world.ended(verifier)).status is PASSED


async def test_of_megabytes_of_output_the_end_is_kept(tmp_path: Path) -> None:
    program = "import sys\nfor n in range(400_000): print('\\x1b[31mline', n, 'x' * 20)\nprint('the very last'); sys.exit(1)\n"
    release = world.installed(tmp_path, files={"talk.py": program}, smoke=("python", "talk.py"))
    async with world.open_verifier(tmp_path) as verifier:
        await verifier.begin(release, key="upg-1")
        found = await world.ended(verifier)
    assert found.status is FAILED
    assert found.detail.endswith("the very last")
    assert len(found.detail) <= DETAIL_CHARS < KEPT_BYTES
    assert "\x1b" not in found.detail


# --- ending ---

HIDES = """
import os, signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen(["sleep", "1000"])
subprocess.Popen(["sleep", "1000"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "1000"])
    os._exit(0)
print("ready", flush=True)
open("ready", "w").write(str(os.getpid()))
if len(sys.argv) > 1:
    sys.exit(int(sys.argv[1]))
signal.pause()
"""


async def test_tests_that_hang_are_ended_with_everything_they_started(tmp_path: Path) -> None:
    release = world.installed(tmp_path, files={"hide.py": HIDES}, smoke=("python", "hide.py"))
    async with world.open_verifier(tmp_path, smoke_timeout_seconds=1.5) as verifier:
        await verifier.begin(release, key="upg-1")
        found = await world.ended(verifier)
        assert living(tmp_path) == []
    assert found.status is FAILED
    assert found.detail == "smoke tests took longer than 1.5 s and were ended\nready"


async def test_processes_that_tests_leave_behind_are_ended_and_do_not_hold_up_the_verdict(tmp_path: Path) -> None:
    release = world.installed(tmp_path, files={"hide.py": HIDES}, smoke=("python", "hide.py", "0"))
    async with world.open_verifier(tmp_path) as verifier:
        await verifier.begin(release, key="upg-1")
        assert (await world.ended(verifier)).status is PASSED
        assert living(tmp_path) == []


async def test_forgetting_ends_what_runs(tmp_path: Path) -> None:
    release = world.installed(tmp_path, files={"hide.py": HIDES}, smoke=("python", "hide.py"))
    async with world.open_verifier(tmp_path) as verifier:
        await verifier.begin(release, key="upg-1")
        await world.ready(tmp_path)
        await verifier.forget("upg-1")
        assert living(tmp_path) == []
        assert (await verifier.outcome("upg-1")).status is VerificationStatus.ABSENT


async def test_closing_the_server_ends_what_runs(tmp_path: Path) -> None:
    release = world.installed(tmp_path, files={"hide.py": HIDES}, smoke=("python", "hide.py"))
    async with world.open_verifier(tmp_path) as verifier:
        await verifier.begin(release, key="upg-1")
        await world.ready(tmp_path)
    assert living(tmp_path) == []
    assert list((tmp_path / "verification").iterdir()) == []


async def test_a_killed_server_takes_its_tests_along(tmp_path: Path) -> None:
    world.installed(tmp_path, files={"hide.py": HIDES})
    program = (
        "import anyio, pathlib\n"
        "from tests.integration import verification_world as world\n"
        "async def main():\n"
        f"    folder = pathlib.Path({str(tmp_path)!r})\n"
        "    async with world.open_verifier(folder) as verifier:\n"
        "        await verifier.begin(world.release(smoke=('python', 'hide.py')), key='upg-1')\n"
        "        await anyio.sleep_forever()\n"
        "anyio.run(main)\n"
    )
    async with await anyio.open_process([sys.executable, "-c", program], stdout=None, stderr=None) as server:
        await world.ready(tmp_path)
        assert len(living(tmp_path)) >= 4
        server.kill()
    await nothing_lives(tmp_path)
    async with world.open_verifier(tmp_path) as verifier:
        assert (await verifier.outcome("upg-1")).status is VerificationStatus.ABSENT
        assert not (tmp_path / "verification").exists()


async def test_a_killed_guard_is_a_failure_that_is_seen_and_leaves_nothing_in_its_group(tmp_path: Path) -> None:
    program = "import os, signal\nopen('ready', 'w').write(str(os.getppid()))\nsignal.pause()\n"
    release = world.installed(tmp_path, files={"wait.py": program}, smoke=("python", "wait.py"))
    async with world.open_verifier(tmp_path, smoke_timeout_seconds=1.5) as verifier:
        await verifier.begin(release, key="upg-1")
        guard = int(await world.ready(tmp_path))
        psutil.Process(guard).send_signal(signal.SIGKILL)
        assert (await world.ended(verifier)).status is FAILED
        await nothing_lives(tmp_path)


async def test_many_at_once_wait_their_turn_and_all_end(tmp_path: Path) -> None:
    release = world.installed(tmp_path, smoke=("true",))
    async with world.open_verifier(tmp_path) as verifier:
        for number in range(12):
            await verifier.begin(release, key=f"upg-{number}")
        for number in range(12):
            assert (await world.ended(verifier, f"upg-{number}")).status is PASSED


# --- requests ---


async def test_every_request_is_sent_once_in_order_and_carries_the_key(tmp_path: Path) -> None:
    requests = [
        TestRequest(method="PUT", path="/cache/hello", json={"value": "world"}, headers={"X-Team": "a"}),
        TestRequest(path="/cache/hello?q=a b"),
        TestRequest(path="/missing", expect_status=404),
    ]

    def answer(path: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        assert ("X-Team" in headers) == (path.endswith("/hello"))
        return (404 if path.endswith("/missing") else 200), {}

    with world.data_plane(answer) as (url, asked, _):
        async with world.open_verifier(tmp_path, router_url=url) as verifier:
            await verifier.begin(world.release(requests=requests), key="upg-9")
            found = await world.ended(verifier, "upg-9")
    assert (found.status, found.passed, found.failed) == (PASSED, 3, 0)
    assert found.detail == "requests: 3 of 3 answered as expected"
    assert asked == [
        ("PUT", "/Tiny/cache/hello", "upg-9"),
        ("GET", "/Tiny/cache/hello?q=a%20b", "upg-9"),
        ("GET", "/Tiny/missing", "upg-9"),
    ]


async def test_a_failing_request_is_named_with_what_was_wrong(tmp_path: Path) -> None:
    requests = [TestRequest(path="/healthz"), TestRequest(method="POST", path="/recall")]
    with world.data_plane(without_recall) as (url, _, _):
        async with world.open_verifier(tmp_path, router_url=url) as verifier:
            await verifier.begin(world.release(requests=requests), key="upg-1")
            found = await world.ended(verifier)
    assert (found.status, found.passed, found.failed) == (FAILED, 1, 1)
    assert found.detail == "requests: 1 of 2 answered as expected; POST /recall answered 500 instead of 200"


async def test_an_agent_that_is_not_there_or_never_answers_fails(tmp_path: Path) -> None:
    async with world.open_verifier(tmp_path) as verifier:
        await verifier.begin(world.release(requests=[TestRequest()]), key="upg-1")
        assert "GET / reached nobody" in (await world.ended(verifier)).detail

    def slow(path: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        return 200, {"Content-Length": "10"}  # and then never sends them

    with world.data_plane(slow) as (url, _, _):
        async with world.open_verifier(tmp_path, router_url=url, request_timeout_seconds=0.3) as verifier:
            await verifier.begin(world.release(requests=[TestRequest()]), key="upg-1")
            found = await world.ended(verifier)
    assert found.status is FAILED
    assert "GET / " in found.detail


async def test_answers_of_another_version_are_no_evidence(tmp_path: Path) -> None:
    def old(path: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        return (500 if path.endswith("/recall") else 200), {"X-Served-By": "Tiny@0.9.0/g1-1-1"}

    with world.data_plane(old) as (url, _, _):
        async with world.open_verifier(tmp_path, router_url=url) as verifier:
            await verifier.begin(world.release(requests=[TestRequest(), TestRequest(path="/recall")]), key="upg-1")
            found = await world.ended(verifier)
    assert (found.status, found.passed, found.failed) == (UNAVAILABLE, 0, 0)
    assert found.detail == "requests: 0 of 0 answered as expected; 2 answered by another version"


async def test_a_request_that_the_rate_limit_keeps_back_is_sent_again_and_is_no_evidence_against_the_version(tmp_path: Path) -> None:
    sent: list[str] = []

    def limited(path: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        sent.append(path)
        if len(sent) == 1:
            return 429, {"X-Served-By": "Tiny@-/router", "Retry-After": "1"}
        return 200, {"X-Served-By": "Tiny@1.0.0/g1-1-1"}

    with world.data_plane(limited) as (url, _, _):
        async with world.open_verifier(tmp_path, router_url=url) as verifier:
            await verifier.begin(world.release(requests=[TestRequest()]), key="upg-1")
            found = await world.ended(verifier)
    assert (found.status, found.passed, len(sent)) == (VerificationStatus.PASSED, 1, 2)


async def test_an_agents_own_429_is_its_answer(tmp_path: Path) -> None:
    def own(path: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        return 429, {"X-Served-By": "Tiny@1.0.0/g1-1-1", "Retry-After": "1"}

    with world.data_plane(own) as (url, asked, _):
        async with world.open_verifier(tmp_path, router_url=url) as verifier:
            await verifier.begin(world.release(requests=[TestRequest()]), key="upg-1")
            found = await world.ended(verifier)
    assert (found.status, found.failed, len(asked)) == (VerificationStatus.FAILED, 1, 1)


async def test_a_version_that_is_slow_all_along_is_found_out_before_every_request_was_sent() -> None:
    clock = VirtualClock()

    def slow(path: str, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str]]:
        clock.advance(ALL_REQUESTS_SECONDS / 3)
        return 200, {}

    with world.data_plane(slow) as (url, asked, _):
        answers = await ask(world.release(), [TestRequest()] * 50, url, key="upg-1", clock=clock)
    assert (answers.passed, answers.left_out, len(asked)) == (4, 46, 4)
    assert answers.failures == [f"out of time after {ALL_REQUESTS_SECONDS:g} s"]


async def test_a_fault_of_ours_takes_no_version_back_and_stops_nobody_else(tmp_path: Path) -> None:
    class NoIds(RandomIds):
        def new(self, prefix: str) -> str:  # noqa: ARG002 (the port has it)
            raise RuntimeError("no dice")

    ids = NoIds()
    async with ProcessVerifier(data_dir=tmp_path, router_url="http://127.0.0.1:1", clock=world.CLOCK, ids=ids) as verifier:
        await verifier.begin(world.installed(tmp_path, smoke=("true",)), key="upg-1")
        found = await world.ended(verifier)
        assert (found.status, found.detail) == (UNAVAILABLE, "the verification itself failed: RuntimeError: no dice")
        await verifier.begin(world.release(), key="upg-2")
        assert (await world.ended(verifier, "upg-2")).status is PASSED


async def test_no_more_requests_than_the_limit_are_sent(tmp_path: Path) -> None:
    with world.data_plane(fine) as (url, asked, _):
        async with world.open_verifier(tmp_path, router_url=url) as verifier:
            await verifier.begin(world.release(requests=[TestRequest()] * (REQUESTS_MAX + 7)), key="upg-1")
            found = await world.ended(verifier)
    assert (found.status, found.passed, len(asked)) == (PASSED, REQUESTS_MAX, REQUESTS_MAX)
    assert found.detail.endswith("; 7 not sent")
