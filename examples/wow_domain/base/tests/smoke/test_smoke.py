"""What must hold of every WowDomain before somebody asks it."""

import httpx


def test_it_is_healthy(agent: httpx.Client) -> None:
    assert agent.get("/healthz").status_code == 200


def test_a_good_name_is_valid(agent: httpx.Client) -> None:
    assert agent.get("/check", params={"name": "green-sea.org"}).json()["valid"] is True


def test_a_bad_name_comes_with_reasons_and_suggestions(agent: httpx.Client) -> None:
    answer = agent.get("/check", params={"name": "green sea"}).json()
    assert answer["valid"] is False
    assert len(answer["problems"]) == 2
    assert "green-sea.com" in answer["suggestions"]
