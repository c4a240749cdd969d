"""What must hold of every WowCache before it keeps anything. Another process may answer the second request, so a miss is allowed."""

import httpx


def test_it_is_healthy(agent: httpx.Client) -> None:
    assert agent.get("/healthz").status_code == 200


def test_a_kept_value_is_found_or_missed_but_never_wrong(agent: httpx.Client) -> None:
    assert agent.put("/cache/smoke", json={"value": {"a": 1}}).status_code == 200
    answer = agent.get("/cache/smoke").json()
    assert not answer["hit"] or answer["value"] == {"a": 1}


def test_an_unknown_key_is_a_miss(agent: httpx.Client) -> None:
    assert agent.get("/cache/never-kept").json() == {"key": "never-kept", "hit": False}
