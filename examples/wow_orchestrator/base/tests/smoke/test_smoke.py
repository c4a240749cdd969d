"""What must hold of every WowOrchestrator before it runs a task."""

import httpx


def test_it_is_healthy(agent: httpx.Client) -> None:
    assert agent.get("/healthz").status_code == 200


def test_a_run_asks_every_agent(agent: httpx.Client) -> None:
    results = agent.post("/run", json={"text": "look around"}).json()["results"]
    assert set(results) == {"WowMemory", "WowCache", "WowDomain"}


def test_a_stream_ticks_and_ends(agent: httpx.Client) -> None:
    events = agent.get("/stream", params={"seconds": 0.2, "interval": 0.1}).text.split("\n\n")
    assert events == ["event: tick\ndata: 1", "event: tick\ndata: 2", "event: end\ndata: 2", ""]
