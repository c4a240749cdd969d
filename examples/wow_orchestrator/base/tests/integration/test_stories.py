"""Whole stories with WowOrchestrator. It asks the agents that it finds; one that is not there is part of the answer."""

import httpx


def test_one_conversation_runs_task_after_task(agent: httpx.Client) -> None:
    here = {"X-Conversation-Id": "integration"}
    for number in range(3):
        answer = agent.post("/run", json={"text": f"task {number}"}, headers=here)
        assert answer.status_code == 200
        assert len(answer.json()["results"]) == 3


def test_a_stream_beside_a_run_comes_to_its_end(agent: httpx.Client) -> None:
    with agent.stream("GET", "/stream", params={"seconds": 0.3, "interval": 0.1}) as stream:
        assert agent.post("/run", json={"text": "meanwhile"}).status_code == 200
        assert "event: end" in stream.read().decode()
