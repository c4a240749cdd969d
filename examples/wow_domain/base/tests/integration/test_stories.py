"""Whole stories with WowDomain."""

import httpx


def test_what_it_suggests_it_finds_valid(agent: httpx.Client) -> None:
    suggestions = agent.get("/check", params={"name": "green sea"}).json()["suggestions"]
    assert suggestions
    for name in suggestions:
        assert agent.get("/check", params={"name": name}).json()["valid"] is True


def test_it_does_not_tire_of_names(agent: httpx.Client) -> None:
    answers = [agent.get("/check", params={"name": f"name-{number}.org"}).status_code for number in range(30)]
    assert answers == [200] * 30
