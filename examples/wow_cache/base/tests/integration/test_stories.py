"""Whole stories with WowCache. Another process may answer the next request, so a miss is allowed, a wrong value is not."""

from uuid import uuid4

import httpx


def test_the_newest_value_counts(agent: httpx.Client) -> None:
    key = uuid4().hex
    for number in range(3):
        assert agent.put(f"/cache/{key}", json={"value": number}).status_code == 200
    answer = agent.get(f"/cache/{key}").json()
    assert not answer["hit"] or answer["value"] == 2


def test_keys_do_not_mix(agent: httpx.Client) -> None:
    keys = [uuid4().hex for _ in range(10)]
    for key in keys:
        agent.put(f"/cache/{key}", json={"value": key})
    found = {key: agent.get(f"/cache/{key}").json() for key in keys}
    assert [key for key, answer in found.items() if answer["hit"] and answer["value"] != key] == []
