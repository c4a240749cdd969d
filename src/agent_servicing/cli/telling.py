"""Calls of the API about notifications and reports, for their commands. Beside `client`, which is long enough."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from agent_servicing.cli.client import PREFIX, path_of

if TYPE_CHECKING:
    from agent_servicing.cli.client import Api

Json = dict[str, Any]
SETTINGS = f"{PREFIX}/settings/notifications"


def notifications(api: "Api", filters: Mapping[str, str]) -> Json:
    return api.get(path_of("notifications"), filters)


def read(api: "Api", notification: str) -> Json:
    return api.send("POST", path_of("notifications", notification, "read"))


def read_all(api: "Api") -> Json:
    return api.send("POST", path_of("notifications", "read-all"))


def settings(api: "Api") -> Json:
    return api.get(SETTINGS)


def put_settings(api: "Api", body: Json) -> Json:
    return api.send("PUT", SETTINGS, body)


def test_target(api: "Api", name: str) -> Json:
    return api.send("POST", path_of("settings", "notifications", "targets", name, "test"))


def report(api: "Api", agent: str, body: Json) -> Json:
    return api.send("POST", path_of("agents", agent, "issues"), body)


def issues(api: "Api", agent: str) -> list[Json]:
    return list(api.pages(path_of("agents", agent, "issues"), key="issues"))


def send(api: "Api", agent: str, issue: str) -> Json:
    return api.send("POST", path_of("agents", agent, "issues", issue, "send"))


def test_tracker(api: "Api") -> Json:
    return api.send("POST", path_of("settings", "issues", "test"))


def bundle(api: "Api", agent: str, issue: str) -> Iterator[bytes]:
    """The zip, in pieces."""
    return api.stream(path_of("agents", agent, "issues", issue, "bundle"))
