"""Whole stories with WowMemory, as its users have them."""

from uuid import uuid4

import httpx


def test_a_conversation_keeps_everything_that_was_said_in_it(agent: httpx.Client) -> None:
    here, word = {"X-Conversation-Id": uuid4().hex}, uuid4().hex
    for number in range(5):
        assert agent.post("/remember", json={"text": f"{word} {number}"}, headers=here).status_code == 200
    recalled = agent.get("/recall", params={"q": word}, headers=here).json()["memories"]
    assert sorted(recalled) == [f"{word} {number}" for number in range(5)]


def test_many_conversations_at_once_do_not_mix(agent: httpx.Client) -> None:
    word = uuid4().hex
    conversations = [uuid4().hex for _ in range(10)]
    for name in conversations:
        agent.post("/remember", json={"text": f"{word} of {name}"}, headers={"X-Conversation-Id": name})
    for name in conversations:
        answer = agent.get("/recall", params={"q": word}, headers={"X-Conversation-Id": name})
        assert answer.json()["memories"] == [f"{word} of {name}"]
