"""`agent.toml` to values and back, and every way in which it can be wrong."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from agent_servicing.core.errors import Invalid
from agent_servicing.core.manifest import (
    ConfigSpec,
    ConversationKey,
    Conversations,
    Drain,
    Health,
    Manifest,
    Run,
    Source,
    StateSpec,
    TestRequest,
    UpgradeNotes,
)
from agent_servicing.core.manifest import (
    Tests as OwnTests,
)
from agent_servicing.manifest import MANIFEST_MAX_CHARS, dump_manifest, load_manifest, merge, resolve_source
from agent_servicing.manifest.schema import ManifestFile

SMALLEST = """
[agent]
id = "WowCache"
[source]
path = "./dist"
[run]
command = ["python", "-m", "wow_cache"]
"""

WHOLE = """
[agent]
id = "WowMemory"
description = "remembers"
owner = "team@example.org"
[source]
git = "file:///srv/wow-memory.git"
[run]
runtime = "process"
command = ["uvicorn", "wow_memory:app", "--host", "{host}", "--port", "{port}"]
install = ["uv", "sync", "--frozen"]
instances = 3
env = { LOG_LEVEL = "INFO" }
resources = { memory_mb = 512, cpu = 1.0 }
[health]
path = "/healthz"
startup_timeout_seconds = 60
interval_seconds = 1
healthy_after = 2
unhealthy_after = 3
[routing]
conversation_key = "header:X-Conversation-Id"
[drain]
timeout_seconds = 30
stream_timeout_seconds = 300
[config]
schema = "config.schema.json"
defaults = { max_context_size_gb = 10, timeout_seconds = 30 }
reload = "sdk"
file = "config.json"
[state]
directory = "state"
writes = 3
reads = [2, 3]
[tests]
smoke = ["pytest", "-q", "tests/smoke", "--junitxml={junit}"]
integration = ["pytest", "-q", "tests/integration", "--junitxml={junit}"]
[[tests.requests]]
method = "POST"
path = "/remember"
json = { text = "hello" }
expect_status = 200
[upgrade]
from = ">=1.2"
breaking = []
migration_notes = ""
security = false
critical = false
"""


def load(text: str) -> Manifest:
    return load_manifest(text, origin="agent.toml")


def problems(text: str | dict[str, Any]) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        load_manifest(text, origin="somewhere/agent.toml")
    assert caught.value.message.startswith("somewhere/agent.toml: ")
    return {error.path: error.message for error in caught.value.errors}


def changed(path: str, value: object) -> dict[str, Any]:
    """The smallest manifest with one value set at a dotted path."""
    whole: dict[str, Any] = {
        "agent": {"id": "WowCache"},
        "source": {"path": "./dist"},
        "run": {"command": ["python", "-m", "wow_cache"]},
    }
    table = whole
    *tables, key = path.split(".")
    for name in tables:
        table = table.setdefault(name, {})
    table[key] = value
    return whole


def test_the_example_of_the_contract_is_read_whole() -> None:
    assert load(WHOLE) == Manifest(
        agent="WowMemory",
        description="remembers",
        owner="team@example.org",
        source=Source(kind="git", location="file:///srv/wow-memory.git"),
        run=Run(
            runtime="process",
            command=("uvicorn", "wow_memory:app", "--host", "{host}", "--port", "{port}"),
            install=("uv", "sync", "--frozen"),
            instances=3,
            env={"LOG_LEVEL": "INFO"},
            memory_mb=512,
            cpu=1.0,
        ),
        health=Health(path="/healthz"),
        conversation_key=ConversationKey(kind="header", name="X-Conversation-Id"),
        config=ConfigSpec(
            schema="config.schema.json", defaults={"max_context_size_gb": 10, "timeout_seconds": 30}, reload="sdk", file="config.json"
        ),
        state=StateSpec(directory="state", writes=3, reads=(2, 3)),
        tests=OwnTests(
            smoke=("pytest", "-q", "tests/smoke", "--junitxml={junit}"),
            integration=("pytest", "-q", "tests/integration", "--junitxml={junit}"),
            requests=(TestRequest(method="POST", path="/remember", json={"text": "hello"}),),
        ),
        upgrade=UpgradeNotes(from_range=">=1.2"),
        text=WHOLE,
    )


def test_what_is_left_out_has_the_defaults_of_the_core() -> None:
    assert load(SMALLEST) == Manifest(
        agent="WowCache", source=Source(kind="path", location="./dist"), run=Run(command=("python", "-m", "wow_cache")), text=SMALLEST
    )


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            "run.instance",
            3,
            "unknown key run.instance; allowed: runtime, command, install, instances, env, resources, did you mean instances?",
        ),
        ("health.pth", "/", "did you mean path?"),
        ("zzz", {}, "allowed: agent, source, run, health, routing, drain, config, state, tests, upgrade"),
        ("config.scheme", "x", "did you mean schema?"),
        ("upgrade.form", "x", "did you mean from?"),
        ("run.resources.memory", 3, "did you mean memory_mb?"),
        ("run.instances", "three", "must be a whole number, not 'three'"),
        ("run.instances", True, "must be a whole number, not True"),
        ("run.instances", 1.5, "must be a whole number, not 1.5"),
        ("run.instances", 0, "must be at least 1, not 0"),
        ("run.instances", 101, "must be at most 100, not 101"),
        ("run.command", [], "must name a program"),
        ("run.command", [" "], "must name a program"),
        ("run.command", ["a\0b"], "NUL"),
        ("run.command", "python -m x", "must be a list, not 'python -m x'"),
        ("run.install", [], "must name a program"),
        ("run.runtime", "proces", "must be one of docker, kubernetes, process, not 'proces'"),
        ("run.runtime", 3, "must be text"),
        ("run.env.PORT", 3, "must be text, not 3"),
        ("run.env.A-B", "x", "letters, digits and underscores"),
        ("run.resources.cpu", 0, "must be more than 0"),
        ("run", "x", "must be a table"),
        ("agent.id", "1st", "must be a letter, then at most 62"),
        ("agent.id", "x" * 64, "must be a letter, then at most 62"),
        ("agent.id", "a/../b", "must be a letter, then at most 62"),
        ("agent.id", "Wow\n", "must be a letter, then at most 62"),
        ("source.git", "x", "must name exactly one of git, pypi, path, image; it names git and path"),
        ("health.interval_seconds", 0, "must be more than 0"),
        ("health.interval_seconds", float("nan"), "must be a finite number"),
        ("health.startup_timeout_seconds", 1e9, "must be at most 604800"),
        ("health.path", "healthz", "must start with /"),
        ("routing.conversation_key", "body:id", 'must be "header:NAME"'),
        ("routing.conversation_key", "header:", 'must be "header:NAME"'),
        ("routing.conversation_key", "header:a b", 'must be "header:NAME"'),
        ("drain.timeout_seconds", -1, "must be at least 0"),
        ("config.reload", "signal:KILL", 'must be "sdk", "restart", "signal:NAME" with NAME one of HUP, USR1, USR2'),
        ("config.reload", "http:reload", '"http:/PATH"'),
        ("config.schema", "/etc/schema.json", "must be a relative path inside its folder"),
        ("config.file", "../config.json", "must be a relative path inside its folder"),
        ("config.file", ".", "must be a relative path inside its folder"),
        ("config.defaults", {"a": [float("inf")]}, "must hold only what JSON can say; a.0 is inf"),
        ("state.directory", "a/../../b", "must be a relative path inside its folder"),
        ("state.reads", [2, "3"], "must be a whole number"),
        ("upgrade.from", "newer", "allowed are comparators"),
        ("upgrade.security", "yes", "must be true or false"),
        ("tests.requests", [{"method": "FETCH"}], "must be one of GET"),
        ("tests.requests", [{"stauts": 1}], "unknown key tests.requests.0.stauts; allowed: method, path, headers, json, expect_status"),
    ],
)
def test_a_wrong_value_is_told_with_its_path_and_what_is_allowed(path: str, value: object, said: str) -> None:
    (found,) = problems(changed(path, value)).items()
    assert found[0].startswith(path.rsplit(".", 1)[0])
    assert said in found[1]


@pytest.mark.parametrize("location", ["", "-oProxyCommand=x", "ext::sh -c x", "a\nb"])
def test_a_git_location_that_could_run_something_is_refused(location: str) -> None:
    values = changed("run.instances", 1) | {"source": {"git": location}}
    assert "must be a path or an address" in problems(values)["source.git"]


@pytest.mark.parametrize("name", ["", "-r x", "httpbin==1", "a b", "httpbin["])
def test_a_package_name_is_only_a_name(name: str) -> None:
    values = changed("run.instances", 1) | {"source": {"pypi": name}}
    assert "must be the name of a package" in problems(values)["source.pypi"]


def test_a_package_may_name_extras() -> None:
    values = changed("run.instances", 1) | {"source": {"pypi": "httpbin[mainapp]"}}
    assert load_manifest(values, origin="x").source == Source(kind="pypi", location="httpbin[mainapp]")


def test_a_state_that_cannot_read_what_it_writes_is_refused() -> None:
    values = changed("state", {"writes": 3, "reads": [2]})
    assert problems(values) == {"state": "reads must include 3, the schema that this version writes"}


def test_every_problem_is_told_at_once() -> None:
    found = problems('[agent]\nid = 3\n[run]\ncommand = []\nruntime = "x"\n[health]\nintervall_seconds = 1\n')
    assert set(found) == {"agent.id", "source", "run.command", "health.intervall_seconds", "run.runtime"}
    assert found["source"] == "is required"


def test_a_syntax_error_is_told_with_its_line() -> None:
    assert re.search(r"line 2", problems("[agent]\nid = \n")[""])


@pytest.mark.parametrize("text", ["[1]", "{", '{"agent": 1}', "", "{" * 100_000, "x = " + "[" * 100_000])
def test_any_other_text_is_refused_as_a_manifest(text: str) -> None:
    assert problems(text)


def test_a_value_nested_without_end_is_refused() -> None:
    nested: dict[str, Any] = {}
    for _ in range(100_000):
        nested = {"a": nested}
    assert "nested more than" in problems(changed("config.defaults", nested))["config.defaults"]


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[2] / "examples").glob("*/base/agent.toml")), ids=lambda file: file.parts[-3]
)
def test_the_sample_agents_manifests_are_read(file: Path) -> None:
    manifest = load_manifest(file.read_text(encoding="utf-8"), origin=str(file))
    assert resolve_source(manifest, file.parent).source.kind == "git"


def test_a_manifest_too_long_to_keep_is_refused() -> None:
    assert "is longer than" in problems("#" * (MANIFEST_MAX_CHARS + 1))[""]


def test_a_runtime_of_someone_else_is_allowed_when_its_driver_is_installed() -> None:
    values = changed("run.runtime", "nomad")
    assert load_manifest(values, origin="x", runtimes={"process", "nomad"}).run.runtime == "nomad"


def test_json_text_is_read_as_well() -> None:
    text = json.dumps(changed("run.instances", 2))
    assert load(text).run.instances == 2


def test_a_versions_own_file_wins_but_for_id_and_source() -> None:
    agent = load(SMALLEST)
    merged = merge(agent, WHOLE, origin="1.2.3: agent.toml")
    assert merged == replace(load(WHOLE), agent="WowCache", source=agent.source)
    assert merged.text == WHOLE


def test_a_versions_own_file_needs_neither_id_nor_source() -> None:
    assert merge(load(SMALLEST), '[run]\ncommand = ["x"]\n', origin="x").run.command == ("x",)


def test_a_version_without_a_file_has_the_agents_manifest() -> None:
    agent = load(SMALLEST)
    assert merge(agent, None, origin="x") is agent


@pytest.mark.parametrize("text", ["agent = 3", "[run]\ncommand = []", "nonsense"])
def test_a_versions_own_broken_file_is_told_by_name(text: str) -> None:
    with pytest.raises(Invalid, match=r"^1\.2\.3: agent\.toml: "):
        merge(load(SMALLEST), text, origin="1.2.3: agent.toml")


@pytest.mark.parametrize(
    ("kind", "location", "resolved"),
    [
        ("path", "./dist", "/base/dist"),
        ("path", "../dist", "/dist"),
        ("path", "/elsewhere", "/elsewhere"),
        ("git", "repository", "/base/repository"),
        ("git", "./a:b", "/base/a:b"),
        ("git", "file:///srv/x.git", "file:///srv/x.git"),
        ("git", "https://host/x.git", "https://host/x.git"),
        ("git", "git@host:x.git", "git@host:x.git"),
        ("pypi", "httpbin", "httpbin"),
    ],
)
def test_a_relative_source_is_taken_from_the_manifests_folder(kind: Any, location: str, resolved: str) -> None:
    manifest = replace(load(SMALLEST), source=Source(kind=kind, location=location))
    assert resolve_source(manifest, Path("/base")).source.location == resolved


names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True)
commands = (
    st.lists(st.text(alphabet="abc {}/-", min_size=1, max_size=6), min_size=1, max_size=3).filter(lambda c: bool(c[0].strip())).map(tuple)
)
seconds = st.one_of(st.integers(1, 1000), st.floats(0.1, 1000))
inside = st.sampled_from([None, "a", "a/b.json"])
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
manifests = st.builds(
    Manifest,
    agent=names,
    description=st.text(max_size=10),
    owner=st.text(max_size=10),
    source=st.sampled_from(
        [Source(kind="git", location="/srv/x.git"), Source(kind="pypi", location="six"), Source(kind="image", location="r/x")]
    ),
    run=st.builds(
        Run,
        runtime=st.sampled_from(["process", "docker"]),
        command=commands,
        install=st.none() | commands,
        instances=st.integers(1, 100),
        env=st.dictionaries(st.sampled_from(["A", "B_1"]), st.text(alphabet="abc ", max_size=4)),
        memory_mb=st.none() | st.integers(1, 9999),
        cpu=st.none() | st.floats(0.1, 64),
    ),
    health=st.builds(Health, path=st.sampled_from([None, "/healthz"]), startup_timeout_seconds=seconds, interval_seconds=seconds),
    conversation_key=st.none() | st.builds(ConversationKey, kind=st.sampled_from(["header", "cookie", "query"]), name=names),
    conversations=st.builds(
        Conversations,
        on_promote=st.sampled_from(["keep_until_idle", "move_at_next_turn"]),
        on_rollback=st.sampled_from(["move_now", "keep"]),
    ),
    drain=st.builds(Drain, timeout_seconds=seconds, conversation_timeout_seconds=seconds),
    config=st.builds(
        ConfigSpec,
        schema=inside,
        defaults=st.dictionaries(st.text(max_size=4), json_values, max_size=3),
        reload=st.sampled_from(["sdk", "restart", "signal:HUP", "http:/-/reload"]),
        file=inside,
    ),
    state=st.builds(StateSpec, directory=inside, writes=st.just(3), reads=st.sampled_from([(), (3,), (2, 3)])),
    tests=st.builds(
        OwnTests, smoke=st.none() | commands, requests=st.lists(st.builds(TestRequest, json=json_values), max_size=2).map(tuple)
    ),
    upgrade=st.builds(
        UpgradeNotes,
        from_range=st.sampled_from(["", ">=1.2", "^1.2,<1.9"]),
        breaking=st.lists(st.text(max_size=5), max_size=2).map(tuple),
        migration_notes=st.text(max_size=5),
        security=st.booleans(),
    ),
)


@settings(deadline=None)
@given(manifests)
def test_a_manifest_survives_being_written_and_read(manifest: Manifest) -> None:
    written = json.dumps(dump_manifest(manifest))
    assert replace(load(written), text="") == manifest


def _keys(model: type[BaseModel], prefix: str = "") -> set[str]:
    found = set()
    for name, field in model.model_fields.items():
        path = f"{prefix}{field.alias or name}"
        found.add(path)
        for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found.discard(path)
                found |= _keys(kind, f"{path}.")
    return found


def test_the_guide_describes_every_key_and_no_other() -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/manifest.md").read_text(encoding="utf-8")
    described = set(re.findall(r"^\| `([a-z_.]+)` \|", guide, flags=re.MULTILINE))
    assert described == _keys(ManifestFile)


def test_the_guides_example_is_a_manifest() -> None:
    guide = (Path(__file__).parents[2] / "docs/guides/manifest.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", guide, flags=re.DOTALL)
    assert load(example).agent == "WowMemory"
