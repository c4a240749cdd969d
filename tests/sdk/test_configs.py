"""The SDK's configuration: asked first, swapped once, refused without a trace of the value."""

import asyncio
import threading
from typing import Any

import pytest
from pydantic import BaseModel, Field, field_validator

from servicing_sdk import ConfigRejected, Servicing
from servicing_sdk.configs import Configs, at, put
from servicing_sdk.documents import Document, NoDocument, parse, received
from servicing_sdk.kept import Kept
from servicing_sdk.surroundings import Surroundings
from tests.sdk.fake_server import message, text_of


class Settings(BaseModel):
    timeout_seconds: float = Field(default=30, gt=0)
    model: str = "small"
    api_key: str = Field(default="", max_length=10)

    @field_validator("model")
    @classmethod
    def no_secret_model(cls, value: str) -> str:
        if value == "odd":
            raise ValueError("it may not be odd")
        return value


def document(revision: str, apply: dict[str, str] | None = None, **values: object) -> Document:
    return parse(revision, text_of(**values), apply)


@pytest.fixture
def configs() -> Configs:
    made = Configs(model=Settings, kept=Kept(None, ""))
    made.start("cfg-0", text_of(timeout_seconds=5))
    return made


def test_without_a_server_the_models_defaults_hold() -> None:
    servicing = Servicing(config_model=Settings, around=Surroundings())
    with servicing.running():
        assert servicing.config == Settings()
        servicing.report("quality", 1.0)
        assert servicing.flag("anything", default="as before") == "as before"


def test_without_a_model_the_configuration_is_a_dictionary() -> None:
    made = Configs(model=None, kept=Kept(None, ""))
    made.start("cfg-0", '{"a": {"b": 1}}')
    assert made.current == {"a": {"b": 1}}


def test_prepare_changes_nothing_and_commit_swaps(configs: Configs) -> None:
    new = document("cfg-1", timeout_seconds=7)
    assert configs.prepare(new) == []
    assert configs.current.timeout_seconds == 5
    assert configs.state()["prepared"] == new.name
    assert configs.commit(new) == []
    assert configs.current.timeout_seconds == 7
    assert configs.state()["applied"] == new.name
    assert configs.state()["last_attempt"]["result"] == "applied"


def test_a_commit_that_is_repeated_is_applied_once(configs: Configs) -> None:
    calls: list[Any] = []
    configs.apply(lambda new, old: calls.append(new))
    for _ in range(2):
        assert configs.commit(document("cfg-1", timeout_seconds=7)) == []
    assert len(calls) == 1


def test_a_veto_is_reported_with_its_place_and_keeps_the_old_one(configs: Configs) -> None:
    @configs.check
    def veto(new: Settings, old: Settings) -> None:
        if new.model == "huge":
            raise ConfigRejected("model", "there is no such model here")

    for attempt in (configs.prepare, configs.commit):
        assert attempt(document("cfg-1", model="huge")) == [{"path": "model", "message": "there is no such model here"}]
        assert configs.current.model == "small"


@pytest.mark.parametrize("values", [{"api_key": "hunter2-hunter2"}, {"timeout_seconds": "hunter2"}, {"model": ["hunter2"]}])
def test_what_the_model_refuses_is_told_without_the_value(configs: Configs, values: dict[str, object]) -> None:
    (problem,) = configs.prepare(document("cfg-1", **values))
    assert problem["path"] == next(iter(values))
    assert "hunter2" not in str(configs.state())


def test_an_error_of_the_agents_own_code_is_told_by_kind_and_place_only(configs: Configs, caplog: pytest.LogCaptureFixture) -> None:
    @configs.apply
    def fails(new: Settings, old: Settings) -> None:
        int(new.api_key)

    (problem,) = configs.commit(document("cfg-1", api_key="hunter2"))
    assert "ValueError in test_configs.py, line" in problem["message"]
    assert "hunter2" not in str(configs.state()) + caplog.text
    assert configs.current.api_key == ""
    assert configs.state()["last_attempt"]["result"] == "failed"


def test_when_one_part_refuses_the_parts_before_it_get_the_old_one_back(configs: Configs) -> None:
    used: list[float] = []

    @configs.apply
    async def first(new: Settings, old: Settings) -> None:
        used.append(new.timeout_seconds)

    @configs.apply
    def second(new: Settings, old: Settings) -> None:
        raise ConfigRejected("timeout_seconds", "not now")

    assert configs.commit(document("cfg-1", timeout_seconds=7)) == [{"path": "timeout_seconds", "message": "not now"}]
    assert used == [7, 5]
    assert configs.current.timeout_seconds == 5


def test_a_conversation_keeps_the_values_of_its_first_turn_and_sees_hot_ones_at_once(configs: Configs) -> None:
    apply = {"model": "next-conversation"}
    assert configs.pinned("old").model == "small"
    configs.commit(document("cfg-1", apply, model="large", timeout_seconds=9))
    assert (configs.pinned("old").model, configs.pinned("old").timeout_seconds) == ("small", 9)
    assert configs.pinned("new").model == "large"
    assert configs.state()["pending"] == [{"path": "model", "scope": "next-conversation"}]
    configs.forget("old")
    assert configs.pinned("old").model == "large"
    assert configs.state()["pending"] == []


def test_a_key_that_needs_a_restart_is_pending_until_it_is_taken_back(configs: Configs) -> None:
    configs.commit(document("cfg-1", {"timeout_seconds": "restart"}, timeout_seconds=9))
    assert configs.state()["last_attempt"]["result"] == "pending_restart"
    configs.commit(document("cfg-2", {"timeout_seconds": "restart"}, timeout_seconds=5))
    assert configs.state()["pending"] == []


def test_requests_of_a_conversation_go_on_while_a_change_is_being_applied(configs: Configs) -> None:
    async def story() -> None:
        applying, go_on = asyncio.Event(), asyncio.Event()

        @configs.apply
        async def slow(new: Settings, old: Settings) -> None:
            applying.set()
            await go_on.wait()

        configs.run_on(asyncio.get_running_loop())
        committed = asyncio.create_task(asyncio.to_thread(configs.commit, document("cfg-1", timeout_seconds=7)))
        await applying.wait()
        assert configs.pinned("somebody").timeout_seconds == 5  # on the loop, which must not wait for the commit
        go_on.set()
        assert await committed == []
        assert configs.pinned("somebody").timeout_seconds == 7

    asyncio.run(asyncio.wait_for(story(), 20))


def test_a_change_is_applied_on_the_applications_own_loop(configs: Configs) -> None:
    threads: list[int] = []

    async def story() -> None:
        configs.run_on(asyncio.get_running_loop())
        configs.apply(lambda new, old: threads.append(threading.get_ident()))
        await asyncio.to_thread(configs.commit, document("cfg-1", timeout_seconds=7))

    asyncio.run(story())
    assert threads == [threading.get_ident()]


def test_a_document_that_was_damaged_on_the_way_is_none() -> None:
    said = message("cfg-1", a=1)
    assert received(said).values == {"a": 1}
    for damaged in ({**said, "document": '{"a": 2}'}, {**said, "document": said["document"][:3]}, {"phase": "commit"}):
        with pytest.raises(NoDocument):
            received(damaged)


def test_dotted_keys_reach_into_objects() -> None:
    values: dict[str, Any] = {"a": {"b": 1}}
    put(values, "a.c", 2)
    put(values, "a.b", at(values, "a.x"))
    assert values == {"a": {"c": 2}}
