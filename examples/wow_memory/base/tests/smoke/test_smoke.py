"""What must hold of every WowMemory before it meets a conversation."""

from uuid import uuid4

import httpx


def test_it_is_healthy(agent: httpx.Client) -> None:
    assert agent.get("/healthz").status_code == 200


def test_a_remembered_text_is_recalled_in_its_conversation(agent: httpx.Client) -> None:
    here = {"X-Conversation-Id": uuid4().hex}
    assert agent.post("/remember", json={"text": "the sea is green today"}, headers=here).status_code == 200
    assert agent.get("/recall", params={"q": "green"}, headers=here).json() == {"memories": ["the sea is green today"]}


def test_another_conversation_does_not_see_it(agent: httpx.Client) -> None:
    here, there = {"X-Conversation-Id": uuid4().hex}, {"X-Conversation-Id": uuid4().hex}
    agent.post("/remember", json={"text": "a private word"}, headers=here)
    assert agent.get("/recall", params={"q": "private"}, headers=there).json() == {"memories": []}


def test_an_empty_text_is_refused(agent: httpx.Client) -> None:
    assert agent.post("/remember", json={"text": ""}).status_code == 422
