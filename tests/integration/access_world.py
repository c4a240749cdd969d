"""Browsers against the API: each keeps its cookies, and sends what a page of ours would send along."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from agent_servicing.services.access import Role
from agent_servicing.services.users import Rights, User
from agent_servicing.web.app import PREFIX
from tests.integration.api_world import ApiWorld

PASSWORD = "four words nobody guesses"
ORIGIN = "http://server"


@dataclass
class Browser:
    """`http` for requests that look like those of any page; the methods add what our own page adds."""

    http: httpx.AsyncClient
    csrf: str = ""

    async def sign_in(self, user: str, password: str = PASSWORD) -> httpx.Response:
        return await self.entered(await self.http.post(f"{PREFIX}/session", json={"user": user, "password": password}))

    async def entered(self, answer: httpx.Response) -> httpx.Response:
        self.csrf = answer.json().get("csrf_token", "")
        return answer

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.http.get(f"{PREFIX}/{path}", **more)

    async def send(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> httpx.Response:
        return await self.http.request(method, f"{PREFIX}/{path}", json=body, headers={**self.own_headers, **(headers or {})})

    @property
    def own_headers(self) -> dict[str, str]:
        return {"X-CSRF-Token": self.csrf, "Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}

    @property
    def cookie(self) -> str | None:
        return self.http.cookies.get("servicing_session")


@asynccontextmanager
async def a_browser(world: ApiWorld, address: str = "192.0.2.7") -> AsyncIterator[Browser]:
    transport = httpx.ASGITransport(world.app, client=(address, 50_000))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        yield Browser(http)


async def a_user(world: ApiWorld, name: str, role: str = "viewer", **rights: Any) -> User:
    grants = {agent: Role(held) for agent, held in rights.pop("grants", {}).items()}
    return await world.services.users.create(name, Rights(role=Role(role), grants=grants, **rights), password=PASSWORD, actor="test")


async def told(world: ApiWorld, kind: str) -> list[dict[str, Any]]:
    """Audit entries of this type, oldest first."""
    async with world.client(world.admin_token) as admin:
        found = (await admin.get(f"{PREFIX}/audit", params={"type": kind, "limit": 200})).json()["events"]
    return list(reversed(found))
