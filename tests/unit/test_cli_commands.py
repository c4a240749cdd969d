"""Every command against canned answers: what is sent, what is printed, how it ends."""

import json
import re
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from agent_servicing import __version__
from agent_servicing.cli.main import app
from tests.unit.cli_world import ID, World, agent, deployment, problem, stage


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(folder=tmp_path)


def version(name: str, **more: object) -> dict:
    return {"version": name, "type": "minor", "changelog": {"fixed": ["a", "b"]}, "release_date": "2025-12-28T00:00:00Z", **more}


READS = {
    "agent list": [("agents", {"agents": [agent()]})],
    "agent show WowMemory": [("agents/WowMemory", agent()), ("agents/WowMemory/instances", {"instances": []})],
    "versions WowMemory": [("agents/WowMemory/versions", {"agent_id": "WowMemory", "available_versions": [version("1.3.0")]})],
    "changes WowMemory 1.2.5 1.3.0": [("agents/WowMemory/changes", {"agent_id": "WowMemory", "changelog": {"fixed": ["a"]}})],
    "status": [("fleet", {"agents": 1}), ("agents", {"agents": [agent()]})],
    "status WowMemory": [("agents/WowMemory", agent()), ("agents/WowMemory/upgrades", {"upgrades": [deployment()]})],
    f"status {ID}": [("agents", {"agents": [agent()]}), (f"agents/WowMemory/upgrades/{ID}", deployment())],
    "logs WowMemory": [("agents/WowMemory/logs", {"lines": [{"instance": "g1-1-0", "line": "hello"}]})],
    "audit": [("audit", {"events": [{"event_id": "evt-1", "type": "upgrade"}], "next_cursor": None})],
    "audit list": [("audit", {"events": [], "next_cursor": None})],
    "audit verify": [("audit/verify", {"valid": True, "entries": 3, "broken_at": None})],
    "token list": [("tokens", {"tokens": [{"token_id": "tok-1", "name": "ci", "role": "viewer", "agents": None}]})],
    "user list": [("users", {"users": [{"name": "ada", "role": "viewer", "agents": None, "grants": {"WowMemory": "operator"}}]})],
}


@pytest.mark.parametrize("words", READS)
def test_every_reading_command_prints_for_people_and_for_programs(world: World, words: str) -> None:
    for path, answer in READS[words]:
        world.server.on("GET", path, answer)
    shown = world.run(*words.split())
    assert (shown.exit_code, shown.stderr) == (0, ""), shown.output
    assert shown.stdout.strip()
    for machine in (["--json", *words.split()], [*words.split(), "--json"]):
        found = world.run(*machine)
        assert (found.exit_code, found.stderr) == (0, "")
        assert isinstance(json.loads(found.stdout), dict)


def test_status_says_what_is_still_open_on_an_old_version_and_marks_what_nobody_knows(world: World) -> None:
    old = {
        "generation": 7, "version": "1.2.5", "role": "other", "phase": "draining", "instances": 3, "conversations": 12, "in_flight": 4,
        "active_streams": None, "conversation_seconds_left": 0.0, "stream_seconds_left": 90.0, "warm_until": None,
    }  # fmt: skip
    world.server.on("GET", "agents", {"agents": [agent()]})
    world.server.on("GET", f"agents/WowMemory/upgrades/{ID}", deployment())
    world.server.on("GET", "agents/WowMemory", agent())
    world.server.on("GET", "agents/WowMemory/upgrades", {"upgrades": [deployment()]})
    world.server.on("GET", "agents/WowMemory/generations", {"generations": [old]})
    for what in ("WowMemory", ID):
        row = next(line for line in world.run("status", what).stdout.splitlines() if "draining" in line)
        assert row.split() == ["g7", "1.2.5", "draining", "3", "12", "4", "?", "streams", "1", "min", "30", "s"]
    assert json.loads(world.run("status", "WowMemory", "--json").stdout)["work"] == [old]


def test_an_agent_is_shown_with_what_its_instances_are_busy_with_and_how_long_one_that_leaves_may_go_on(world: World) -> None:
    busy = {"instance": "g1-1-0", "status": "ready", "in_flight": 3, "active_streams": 1, "open_conversations": None}
    leaving = {"instance": "g1-2-0", "status": "draining", "in_flight": 1, "active_streams": 1, "drain_seconds_left": 240.0}
    world.server.on("GET", "agents/WowMemory", agent())
    world.server.on("GET", "agents/WowMemory/instances", {"instances": [busy, leaving]})
    text = " ".join(world.run("agent", "show", "WowMemory").stdout.split())
    assert "3 in flight, 1 stream" in text
    assert "leaves within 4 min" in text
    assert "None" not in text


def test_json_works_between_a_group_and_its_command_too(world: World) -> None:
    world.server.on("GET", "agents", {"agents": []})
    assert json.loads(world.run("agent", "--json", "list").stdout) == {"agents": []}
    world.server.on("GET", "audit/verify", {"valid": True, "entries": 0})
    assert json.loads(world.run("audit", "--json", "verify").stdout)["valid"] is True


def test_the_option_nearest_to_the_end_counts(world: World) -> None:
    world.server.on("GET", "agents", {"agents": []})
    assert world.run("--server", "http://first", "agent", "list", "--server", "http://second").exit_code == 0
    assert world.server.requests[-1].url.host == "second"
    world.run("--server", "http://first", "agent", "list")
    assert world.server.requests[-1].url.host == "first"


def test_every_request_carries_the_token(world: World) -> None:
    world.server.on("GET", "agents", {"agents": []})
    world.run("agent", "list")
    assert world.server.requests[0].headers["Authorization"] == "Bearer secret"
    world.run("agent", "list", "--token", "other")
    assert world.server.requests[1].headers["Authorization"] == "Bearer other"


def test_a_plain_upgrade_sends_the_storys_body_and_says_how_to_watch_it(world: World) -> None:
    world.server.on("POST", "agents/WowMemory/upgrade", httpx.Response(202, json=deployment("queued", queue_position=2)))
    found = world.run("upgrade", "WowMemory", "1.3.0", "--reason", "faster")
    assert found.exit_code == 0
    assert f"servicing status {ID} --watch" in found.stdout
    assert world.server.sent("POST", "agents/WowMemory/upgrade") == [
        {
            "target_version": "1.3.0",
            "strategy": "blue-green",
            "reason": "faster",
            "auto_rollback": {"enabled": True},
            "acknowledge_breaking": False,
            "when_busy": "queue",
        }
    ]
    assert world.server.requests[0].headers["Idempotency-Key"] == "cli-1"


def test_every_option_of_an_upgrade_reaches_the_server(world: World) -> None:
    world.server.on("POST", "agents/WowMemory/upgrade", deployment("scheduled", scheduled_at="2026-01-02T02:00:00Z"))
    options = (
        "--steps 10,100 --monitor-seconds 5 --bake-seconds 6 --keep-warm-seconds 7 --hold-seconds 8 --error-rate-threshold 2.5 "
        "--latency-threshold-ms 300 --min-requests 20 --no-auto-rollback --acknowledge-breaking --when-busy reject"
    )
    found = world.run("upgrade", "WowMemory", "2.0.0", "-r", "why", "--at", "in 60 min", *options.split())
    assert found.exit_code == 0, found.output
    assert "Scheduled for 2026-01-02" in found.stderr
    assert world.server.sent("POST", "agents/WowMemory/upgrade")[0] == {
        "target_version": "2.0.0",
        "strategy": "blue-green",
        "reason": "why",
        "schedule": "2026-01-02T02:00:00Z",
        "auto_rollback": {"enabled": False, "error_rate_threshold": 2.5, "latency_threshold_ms": 300.0, "min_requests": 20},
        "blue_green": {"steps": [10.0, 100.0], "monitor_seconds": 5.0},
        "bake_seconds": 6.0,
        "keep_warm_seconds": 7.0,
        "hold_seconds": 8.0,
        "acknowledge_breaking": True,
        "when_busy": "reject",
    }


PLAN = {
    "agent_id": "WowMemory",
    "from_version": "1.2.5",
    "to_version": "1.3.0",
    "stages": [{"stage": "deploy_green", "sentence": "Start 3"}],
}


def test_a_dry_run_shows_the_plan(world: World) -> None:
    world.server.on("POST", "agents/WowMemory/upgrade", {**PLAN, "refusals": [], "warnings": ["two breaking changes"]})
    found = world.run("upgrade", "WowMemory", "1.3.0", "-r", "why", "--dry-run")
    assert found.exit_code == 0
    for words in ("deploy_green", "Start 3", "Warning: two breaking changes", "Nothing was changed."):
        assert words in found.stdout
    assert world.server.sent("POST", "agents/WowMemory/upgrade")[0]["dry_run"] is True


def test_a_dry_run_that_would_be_refused_ends_with_1(world: World) -> None:
    world.server.on("POST", "agents/WowMemory/upgrade", {**PLAN, "refusals": [{"code": "downgrade", "message": "1.0.0 is older."}]})
    found = world.run("upgrade", "WowMemory", "1.0.0", "-r", "why", "--dry-run", "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["refusals"][0]["code"] == "downgrade"
    assert found.stderr == "Refused: 1.0.0 is older.\n"


def test_a_rollback_names_the_version_only_when_given(world: World) -> None:
    world.server.on("POST", "agents/WowMemory/rollback", deployment("queued", kind="rollback"))
    assert world.run("rollback", "WowMemory", "-r", "odd answers").exit_code == 0
    assert world.run("rollback", "WowMemory", "1.2.4", "-r", "odd answers").exit_code == 0
    assert world.server.sent("POST", "agents/WowMemory/rollback") == [
        {"reason": "odd answers"},
        {"reason": "odd answers", "target_version": "1.2.4"},
    ]


@pytest.mark.parametrize(
    ("words", "verb", "body"),
    [
        (["pause", ID, "-r", "lunch"], "pause", {"reason": "lunch"}),
        (["resume", ID], "resume", {}),
        (["promote", ID], "promote", {"full": False}),
        (["promote", ID, "--full"], "promote", {"full": True}),
        (["cancel", ID], "cancel", {}),
    ],
)
def test_verbs_find_the_deployments_agent_by_themselves(world: World, words: list[str], verb: str, body: dict) -> None:
    world.server.on("GET", "agents", {"agents": [agent("Other"), agent()]})
    world.server.on("GET", f"agents/WowMemory/upgrades/{ID}", deployment())
    world.server.on("POST", f"agents/WowMemory/upgrades/{ID}/{verb}", deployment("paused"))
    found = world.run(*words)
    assert found.exit_code == 0, found.output
    assert world.server.sent("POST", f"agents/WowMemory/upgrades/{ID}/{verb}") == [body]


def test_a_verb_on_an_unknown_deployment_is_refused(world: World) -> None:
    world.server.on("GET", "agents", {"agents": [agent()]})
    found = world.run("pause", "upg-nothing")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.startswith("Error: There is no deployment upg-nothing.\nHint:")


def test_an_agent_may_be_called_like_a_deployment(world: World) -> None:
    world.server.on("GET", "agents", {"agents": [agent("upg-1")]})
    world.server.on("GET", "agents/upg-1", agent("upg-1"))
    world.server.on("GET", "agents/upg-1/upgrades", {"upgrades": []})
    assert world.run("status", "upg-1", "--json").exit_code == 0


def test_scaling_restarting_and_removing(world: World) -> None:
    world.server.on("POST", "agents/WowMemory/scale", {"agent_id": "WowMemory", "instances": 5})
    world.server.on("POST", "agents/WowMemory/restart", deployment("queued", kind="restart"))
    world.server.on("DELETE", "agents/WowMemory", {"agent_id": "WowMemory", "status": "removing"})
    assert "5 instances" in world.run("agent", "scale", "WowMemory", "5").stdout
    assert world.run("agent", "restart", "WowMemory", "-r", "new certificate").exit_code == 0
    assert "being removed" in world.run("agent", "remove", "WowMemory", "-r", "gone").stdout
    assert world.server.sent("POST", "agents/WowMemory/scale") == [{"instances": 5, "reason": ""}]
    assert world.server.sent("POST", "agents/WowMemory/restart") == [{"reason": "new certificate"}]
    assert world.server.requests[-1].url.params["reason"] == "gone"


def test_adding_an_agent_sends_its_manifest_and_where_it_lies(world: World) -> None:
    manifest = '[agent]\nid = "WowMemory"\n[source]\npath = "dist"\n'
    (world.folder / "agent.toml").write_text(manifest)
    world.server.on("POST", "agents", httpx.Response(201, json=agent(upgrade_id=ID, deployment=deployment("queued"))))
    found = world.run("agent", "add", ".", "--version", "1.2.5")
    assert found.exit_code == 0, found.output
    assert ID in found.stdout
    expected = {"manifest": manifest, "manifest_path": str(world.folder / "agent.toml"), "version": "1.2.5"}
    assert world.server.sent("POST", "agents") == [expected]


def test_versions_are_refreshed_when_asked(world: World) -> None:
    view = {"agent_id": "WowMemory", "new_versions": ["1.3.0"], "available_versions": [version("1.3.0", breaking_changes=["x"])]}
    world.server.on("POST", "agents/WowMemory/versions/refresh", view)
    found = world.run("versions", "WowMemory", "--refresh")
    assert found.exit_code == 0
    for words in ("1.3.0", "2 fixed", "breaking", "2025-12-2"):
        assert words in found.stdout


def test_a_version_is_withdrawn_with_a_reason_and_what_became_of_it_is_told(world: World) -> None:
    answer = {"version": "1.3.0+patch.1", "standing": "withdrawn", "running": True, "cancelled": ["upg-1"], "under_way": ["upg-2"]}
    world.server.on("POST", "agents/WowMemory/versions/1.3.0+patch.1/withdraw", answer)
    done = world.run("version", "withdraw", "WowMemory", "1.3.0+patch.1", "--reason", "loses memories")
    assert (done.exit_code, done.stdout.strip()) == (0, "WowMemory 1.3.0+patch.1 is withdrawn.")
    for words in ("upg-1, which waited", "servicing cancel upg-2", "It serves now"):
        assert words in done.stderr
    assert world.server.sent("POST", "agents/WowMemory/versions/1.3.0+patch.1/withdraw") == [{"reason": "loses memories"}]
    assert world.run("version", "withdraw", "WowMemory", "1.3.0").exit_code == 2


def test_versions_name_what_is_recommended_and_warn_of_the_running_one(world: World) -> None:
    advice = {"version": "1.3.0", "type": "minor", "urgency": "security", "reason": "closes security problems"}
    shown = version("1.3.0", standing="deprecated", config_problems=["timeout_seconds is too high"])
    view = {"current_version": "1.2.5", "current_standing": "withdrawn", "current_standing_reason": "leaks", "recommended": advice}
    world.server.on("GET", "agents/WowMemory/versions", {**view, "available_versions": [shown]})
    text = world.run("versions", "WowMemory").stdout
    for words in ("withdrawn: leaks", "1.3.0 (minor): closes security problems", "deprecated"):
        assert words in text


def test_changes_are_told_section_by_section(world: World) -> None:
    view = {
        "agent_id": "WowMemory",
        "from": "1.2.5",
        "to": "2.0.0",
        "type": "major",
        "changelog": {"added": ["retries"]},
        "breaking_changes": ["old API is gone"],
        "migration_notes": [{"version": "2.0.0", "text": "run migrate"}],
        "config_schema": [{"key": "properties.retries", "old": None, "new": {"type": "integer"}}],
        "manifest": [{"key": "run.instances", "old": 3, "new": 4}],
        "state_door": "one_way",
        "state_note": "1.2.5 cannot read schema 4.",
    }
    world.server.on("GET", "agents/WowMemory/changes", view)
    found = world.run("changes", "WowMemory", "1.2.5", "2.0.0").stdout
    for words in ("Added\n  retries", "old API is gone", "2.0.0: run migrate", "run.instances: 3 → 4", "State: cannot be taken back."):
        assert words in found
    assert dict(world.server.requests[0].url.params) == {"from": "1.2.5", "to": "2.0.0"}


def test_logs_ask_for_what_was_asked(world: World) -> None:
    world.server.on("GET", "agents/WowMemory/logs", {"lines": [{"instance": "g1-1-0", "line": "\x1b[31mred"}]})
    found = world.run("logs", "WowMemory", "--instance", "g1-1-0", "--lines", "7")
    assert found.stdout == "g1-1-0 | red\n"
    assert dict(world.server.requests[0].url.params) == {"lines": "7", "instance": "g1-1-0"}


def test_following_logs_prints_new_lines_until_ctrl_c(world: World) -> None:
    texts = [["a"], ["a", "b"], ["a", "b", "c"]]
    world.server.on("GET", "agents/X/logs", *({"lines": [{"instance": "i", "line": t} for t in ts]} for ts in texts))
    pauses = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 2:
            raise KeyboardInterrupt

    world.pause = pause
    found = world.run("logs", "X", "--follow")
    assert (found.stdout, found.exit_code) == ("i | a\ni | b\ni | c\n", 130)


EVENTS = [
    {
        "event_id": f"evt-{n}",
        "timestamp": "2026-01-02T02:00:00Z",
        "type": "upgrade",
        "operator": "admin",
        "agent_id": "WowMemory",
        "reason": "=cmd()" if n == 1 else 'say "hi", twice',
        "duration_seconds": 900,
    }
    for n in range(1, 4)
]


def pages(request: httpx.Request) -> dict:
    if request.url.params.get("cursor") == "c2":
        return {"events": EVENTS[2:], "next_cursor": None}
    return {"events": EVENTS[:2], "next_cursor": "c2"}


def test_audit_filters_are_sent_and_pages_followed(world: World) -> None:
    world.server.on("GET", "audit", pages)
    words = "audit --agent WowMemory --operator admin --type upgrade --status success --since 24h --until 2026-01-02T00:00:00Z --all --json"
    found = json.loads(world.run(*words.split()).stdout)
    assert [event["event_id"] for event in found["events"]] == ["evt-1", "evt-2", "evt-3"]
    params = dict(world.server.requests[0].url.params)
    assert params.pop("limit") == "200"
    assert params == {
        "agent": "WowMemory",
        "operator": "admin",
        "type": "upgrade",
        "status": "success",
        "since": "2026-01-01T01:00:00Z",
        "until": "2026-01-02T00:00:00Z",
    }


def test_audit_says_when_it_shows_only_some(world: World) -> None:
    world.server.on("GET", "audit", pages)
    found = world.run("audit", "list", "--limit", "2")
    assert "--all" in found.stderr
    assert len(world.server.requests) == 2


def test_audit_shows_whom_a_deployment_touched(world: World) -> None:
    impact = {"candidate_requests": 375, "candidate_errors": 2, "conversations_touched": 42}
    untold = {**impact, "conversations_touched": None}
    events = [{**EVENTS[0], "impact": impact}, {**EVENTS[1], "impact": untold}, {**EVENTS[2], "type": "login"}]
    world.server.on("GET", "audit", {"events": events, "next_cursor": None})
    rows = world.run("audit").stdout
    assert rows.count("375 requests, 2 failed, 42 conversations") == 1
    assert rows.count("375 requests, 2 failed") == 2


def test_audit_as_csv_is_quoted_and_runs_no_formula(world: World) -> None:
    world.server.on("GET", "audit", pages)
    found = world.run("audit", "list", "--format", "csv", "--all").stdout.splitlines()
    assert found[0].startswith("event_id,timestamp,type,operator,agent_id")
    assert found[1].endswith(",900,'=cmd()")
    assert found[2].endswith('"say ""hi"", twice"')


def test_a_broken_history_ends_with_1_and_names_the_entry(world: World) -> None:
    world.server.on("GET", "audit/verify", {"valid": False, "entries": 9, "broken_at": "evt-4", "message": "the hash differs"})
    found = world.run("audit", "verify")
    assert found.exit_code == 1
    assert "evt-4" in found.stdout


def test_a_token_is_printed_alone_so_that_a_script_can_take_it(world: World) -> None:
    world.server.on("POST", "tokens", httpx.Response(201, json={"token": "s3cret", "name": "ci", "role": "operator"}))
    found = world.run("token", "create", "--role", "operator", "--name", "ci", "--agent", "A", "--agent", "B", "--expires", "in 90 days")
    assert found.stdout == "s3cret\n"
    body = world.server.sent("POST", "tokens")[0]
    assert (body["agents"], body["expires_at"]) == (["A", "B"], "2026-04-02T01:00:00+00:00")


def test_a_token_is_revoked(world: World) -> None:
    world.server.on("DELETE", "tokens/tok-1", httpx.Response(204))
    assert world.run("token", "revoke", "tok-1").exit_code == 0
    assert world.server.requests[0].headers["Idempotency-Key"]


@pytest.mark.parametrize(
    "words",
    [
        ["upgrade", "WowMemory", "1.3.0"],
        ["upgrade", "WowMemory"],
        ["upgrade", "WowMemory", "1.3.0", "-r", "x", "--steps", "a,b"],
        ["upgrade", "WowMemory", "1.3.0", "-r", "x", "--when-busy", "never"],
        ["upgrade", "WowMemory", "1.3.0", "-r", "x", "--at", "someday"],
        ["agent", "scale", "WowMemory", "0"],
        ["agent", "scale", "WowMemory", "many"],
        ["token", "create", "--role", "king"],
        ["audit", "--format", "xml"],
        ["status", "--watch"],
        ["--server", "nonsense://", "agent", "list"],
        ["frobnicate"],
        ["agent", "list", "--frobnicate"],
    ],
)
def test_wrong_usage_ends_with_2_and_sends_nothing_that_changes(world: World, words: list[str]) -> None:
    found = world.run(*words)
    assert found.exit_code == 2
    assert found.stdout == ""
    assert found.stderr.strip()
    assert not [r for r in world.server.requests if r.method != "GET"]


def test_a_refusal_is_one_line_with_its_fields_and_hint(world: World) -> None:
    errors = [{"path": "run.instances", "message": "must be at least 1"}, {"path": "", "message": "odd"}]
    answer = problem(422, "bad_manifest", "agent.toml is\ninvalid.", hint="Fix it.", errors=errors)
    world.server.on("POST", "agents/WowMemory/upgrade", answer)
    found = world.run("upgrade", "WowMemory", "1.3.0", "-r", "x")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr == "Error: agent.toml is invalid.\n  run.instances: must be at least 1\n  odd\nHint: Fix it.\n"


def test_a_refusal_with_json_is_also_a_document(world: World) -> None:
    world.server.on("GET", "agents/Nobody", problem(404, "unknown_agent", "There is no agent Nobody."))
    found = world.run("agent", "show", "Nobody", "--json")
    assert found.exit_code == 1
    expected = {"code": "unknown_agent", "message": "There is no agent Nobody.", "hint": "", "errors": []}
    assert json.loads(found.stdout) == {"error": expected}
    assert found.stderr == "Error: There is no agent Nobody.\n"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (httpx.Response(401, text="no"), "--token"),
        (httpx.Response(404, text="<html>", headers={"Content-Type": "text/html"}), "Is this address the API"),
        (httpx.Response(500, text="{", headers={"Content-Type": "application/json"}), "status 500"),
        (httpx.Response(200, text="<html>"), "not JSON"),
    ],
)
def test_answers_of_something_else_make_sense_too(world: World, answer: httpx.Response, words: str) -> None:
    world.server.on("GET", "agents", answer)
    found = world.run("agent", "list")
    assert found.exit_code == 1
    assert words in found.stderr
    assert "Traceback" not in found.output


def refuse(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("Connection refused", request=request)


def test_a_server_that_does_not_answer_is_named_with_how_to_start_one(world: World) -> None:
    world.server.on("GET", "agents", refuse)
    found = world.run("agent", "list")
    assert found.exit_code == 1
    assert "http://servicing.test (from SERVICING_SERVER)" in found.stderr
    assert "servicing serve" in found.stderr
    assert len(world.server.requests) == 1


def broken(request: httpx.Request) -> httpx.Response:
    raise httpx.RemoteProtocolError("Server disconnected", request=request)


def test_a_lost_answer_is_asked_for_again_under_the_same_key(world: World) -> None:
    world.server.on("POST", "agents/X/upgrade", broken, broken, httpx.Response(202, json=deployment("queued")))
    assert world.run("upgrade", "X", "1.3.0", "-r", "x").exit_code == 0
    assert [r.headers["Idempotency-Key"] for r in world.server.requests] == ["cli-1"] * 3


def test_a_request_that_is_still_under_way_when_it_is_sent_again_is_waited_for(world: World) -> None:
    running = httpx.Response(409, json={"code": "idempotency_running", "title": "Conflict", "detail": "still under way"})
    world.server.on("POST", "agents/X/upgrade", broken, running, running, httpx.Response(202, json=deployment("queued")))
    assert world.run("upgrade", "X", "1.3.0", "-r", "x").exit_code == 0
    assert [r.headers["Idempotency-Key"] for r in world.server.requests] == ["cli-1"] * 4


def test_a_request_that_never_ends_is_told_so(world: World) -> None:
    running = httpx.Response(
        409, headers={"Content-Type": "application/problem+json"}, json={"code": "idempotency_running", "detail": "still under way"}
    )
    world.server.on("POST", "agents/X/upgrade", broken, running)
    found = world.run("upgrade", "X", "1.3.0", "-r", "x")
    assert found.exit_code == 1
    assert "still under way" in found.stderr


def test_retries_end(world: World) -> None:
    world.server.on("GET", "agents", broken)
    found = world.run("agent", "list")
    assert found.exit_code == 1
    assert len(world.server.requests) == 3
    assert "broke" in found.stderr


def test_a_busy_server_is_given_the_time_it_asks_for(world: World) -> None:
    world.server.on("GET", "agents", httpx.Response(503, headers={"Retry-After": "2"}), {"agents": []})
    assert world.run("agent", "list").exit_code == 0
    assert world.clock.seconds == 2


def test_a_removal_is_sent_once_only(world: World) -> None:
    world.server.on("DELETE", "agents/X", broken)
    assert world.run("agent", "remove", "X").exit_code == 1
    assert len(world.server.requests) == 1


def test_debugging_shows_the_traceback(world: World) -> None:
    world.environ["SERVICING_DEBUG"] = "1"
    assert world.run("agent", "list").exception.__class__.__name__ == "NotFound"


def test_names_with_odd_characters_stay_one_path_segment(world: World) -> None:
    world.run("agent", "show", "../../fleet?x=1")
    assert world.server.requests[0].url.raw_path == b"/api/platform/agents/..%2F..%2Ffleet%3Fx%3D1"


def test_the_version_needs_no_server() -> None:
    assert CliRunner().invoke(app, ["--version"]).stdout == f"servicing {__version__}\n"


def test_help_has_every_command_and_examples() -> None:
    text = CliRunner().invoke(app, ["--help"]).stdout
    for word in [
        "serve",
        "stop",
        "demo",
        "open",
        "doctor",
        "status",
        "logs",
        "versions",
        "changes",
        "agent",
        "upgrade",
        "rollback",
        "pause",
        "resume",
        "promote",
        "cancel",
        "audit",
        "token",
    ]:
        assert f" {word} " in text
    assert "Examples" in text
    assert "Exit codes: 0 done" in text


def every_command() -> list[str]:
    def walk(typer_app: object, before: str) -> list[str]:
        own = [f"{before}{c.name}" for c in typer_app.registered_commands]
        return own + [found for g in typer_app.registered_groups for found in walk(g.typer_instance, f"{before}{g.name} ")]

    return walk(app, "")


@pytest.mark.parametrize("words", every_command())
def test_every_command_takes_the_common_options_and_explains_itself(words: str) -> None:
    text = CliRunner().invoke(app, [*words.split(), "--help"]).stdout
    for option in ("--json", "--server", "--token", "--data-dir"):
        assert option in text


def test_show_lists_instances(world: World) -> None:
    instance = {
        "instance": "g1-1-0",
        "version": "1.2.5",
        "status": "ready",
        "port": 40001,
        "pid": 4711,
        "started_at": "2026-01-02T00:00:00Z",
    }
    world.server.on("GET", "agents/WowMemory", agent(traffic={"1.2.5": 100.0}, rollback_points=["1.2.4"]))
    world.server.on("GET", "agents/WowMemory/instances", {"instances": [instance]})
    text = world.run("agent", "show", "WowMemory").stdout
    for words in ("g1-1-0", "40001", "1 h", "1.2.5 100 %", "1.2.4", "3 ready of 3 wanted", "1.3.0 (minor, security)"):
        assert words in text


def test_markup_in_what_operators_wrote_is_shown_as_written(world: World) -> None:
    world.server.on("GET", "agents", {"agents": [agent()]})
    view = deployment(stages=[stage("a", "completed", 1.0, note="[red]x[/red] :smile:")])
    world.server.on("GET", f"agents/WowMemory/upgrades/{ID}", view)
    assert "[red]x[/red] :smile:" in world.run("status", ID).stdout


@pytest.mark.parametrize("words", every_command())
def test_the_guide_has_every_command_with_all_its_options(words: str) -> None:
    guide = (Path(__file__).resolve().parents[2] / "docs/guides/cli.md").read_text()
    command = words.removesuffix(" list") if words == "audit list" else words
    rows = [line for line in guide.splitlines() if f"`servicing {command}" in line and line.startswith("|")]
    assert rows, words
    own = set(re.findall(r"--[a-z-]{3,}", CliRunner().invoke(app, [*words.split(), "--help"]).stdout))
    common = {"--json", "--server", "--token", "--data-dir", "--help", "--reason", "--watch"}
    assert {option for option in own - common if option not in guide} == set()
