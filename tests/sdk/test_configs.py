"""Changes as the agent's own code sees them: asked, swapped, refused; and what a conversation keeps."""

import asyncio
import json
from typing import Any

import pytest
from pydantic import BaseModel, Field, SecretStr

from servicing_sdk import ConfigRejected, Servicing
from servicing_sdk.documents import Document, parse
from servicing_sdk.surroundings import Surroundings


class Settings(BaseModel):
    timeout_seconds: float = Field(default=30, gt=0)
    model: str = "small"
    api_key: SecretStr = Field(default=SecretStr(""), max_length=5)


def a_document(revision: str = "cfg-1-p1", apply: dict[str, str] | None = None, **values: Any) -> Document:
    return parse(revision, json.dumps(values), apply)


def an_agent() -> Servicing:
    return Servicing(config_model=Settings, around=Surroundings())


def test_without_a_server_there_are_the_models_defaults_and_nothing_happens() -> None:
    servicing = an_agent()
    servicing.start()
    servicing.report("quality", 0.9)
    servicing.stop()
    assert servicing.config.timeout_seconds == 30


def test_being_asked_changes_nothing() -> None:
    servicing = an_agent()
    before = servicing.config
    assert servicing.configs.prepare(a_document(timeout_seconds=60)) == []
    assert servicing.config is before


def test_every_problem_is_told_with_its_path_and_no_value() -> None:
    servicing = an_agent()
    problems = servicing.configs.prepare(a_document(timeout_seconds="soon", api_key="a-long-secret"))
    assert {problem["path"] for problem in problems} == {"timeout_seconds", "api_key"}
    assert "a-long-secret" not in json.dumps(problems)


def test_the_agents_own_check_may_refuse() -> None:
    servicing = an_agent()

    @servicing.on_prepare
    def check(new: Settings, old: Settings) -> None:
        if new.model != old.model:
            raise ConfigRejected("model", "it is not installed here")

    assert servicing.configs.prepare(a_document(model="large")) == [{"path": "model", "message": "it is not installed here"}]
    assert servicing.configs.commit(a_document(model="large")) != []
    assert servicing.config.model == "small"


def test_code_that_fails_to_apply_keeps_the_old_one() -> None:
    servicing = an_agent()

    @servicing.on_config
    async def apply(new: Settings, old: Settings) -> None:
        raise OSError("no such model file")

    (problem,) = servicing.configs.commit(a_document(model="large"))
    assert problem["message"] == "the agent could not apply it: OSError: no such model file"
    assert servicing.config.model == "small"
    assert servicing.configs.state()["last_attempt"]["result"] == "failed"


def test_the_same_document_again_is_applied_already() -> None:
    servicing, calls = an_agent(), []
    servicing.on_config(lambda new, old: calls.append(new.timeout_seconds))
    for _ in range(3):
        assert servicing.configs.commit(a_document(timeout_seconds=60)) == []
    assert calls == [60]


async def test_changes_are_applied_on_the_agents_own_loop() -> None:
    servicing, loops = an_agent(), []

    @servicing.on_config
    async def apply(new: Settings, old: Settings) -> None:
        loops.append(asyncio.get_running_loop())

    async with servicing.lifespan(None):
        await asyncio.to_thread(servicing.configs.commit, a_document(timeout_seconds=60))
    assert loops == [asyncio.get_running_loop()]


async def test_a_conversation_keeps_what_it_began_with_and_sees_everything_else() -> None:
    servicing, apply = an_agent(), {"model": "next-conversation"}
    servicing.configs.commit(a_document("cfg-1-p1", apply, model="small", timeout_seconds=30))
    async with servicing.conversation("one") as conversation:
        assert conversation.config.model == "small"
    servicing.configs.commit(a_document("cfg-1-p2", apply, model="large", timeout_seconds=60))
    assert servicing.configs.state()["pending"] == [{"path": "model", "scope": "next-conversation"}]
    async with servicing.conversation("one") as conversation:
        assert (conversation.config.model, conversation.config.timeout_seconds) == ("small", 60)
        assert servicing.config.model == "small"
    async with servicing.conversation("two") as conversation:
        assert conversation.config.model == "large"
    servicing.end_conversation("one")
    async with servicing.conversation("one") as conversation:
        assert conversation.config.model == "large"


def test_a_key_that_is_read_at_the_start_is_reported_as_waiting() -> None:
    servicing = an_agent()
    servicing.configs.start("cfg-1-p0", json.dumps({"model": "small"}))
    assert servicing.configs.commit(a_document(apply={"model": "restart"}, model="large")) == []
    state = servicing.configs.state()
    assert (state["last_attempt"]["result"], state["pending"]) == ("pending_restart", [{"path": "model", "scope": "restart"}])


def test_reserved_keys_set_the_log_level_and_the_flags(caplog: pytest.LogCaptureFixture) -> None:
    servicing = an_agent()
    with caplog.at_level("WARNING"):
        servicing.act_on({"log_level": "DEBUG", "flags": {"fast": True, "size": {"value": 3}}})
        import logging

        assert logging.getLogger().level == logging.DEBUG
    assert (servicing.flag("fast"), servicing.flag("size"), servicing.flag("none", "default")) == (True, 3, "default")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


pytestmark = pytest.mark.anyio
