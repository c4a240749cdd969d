"""What is served beside the API: welcome, offline documentation, description, health, metrics, and the headers of every answer."""

import pkgutil
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib import import_module
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from prometheus_client.parser import text_string_to_metric_families

from agent_servicing import __version__
from agent_servicing.adapters.events.relay import RelayBus
from agent_servicing.core import events
from agent_servicing.core.events import Event
from agent_servicing.web import routes
from agent_servicing.web.app import PREFIX, create_app
from agent_servicing.web.context import EngineStats
from tests.integration.api_world import AGENT, ApiWorld


class Links(HTMLParser):
    """Every address a page names, and whether it holds a script of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.addresses += [value for name, value in attrs if name in ("src", "href") and value]
        self.inline |= tag == "style" or (tag == "script" and "src" not in given)


def links(html: str) -> Links:
    found = Links()
    found.feed(html)
    return found


@pytest.mark.anyio
@pytest.mark.parametrize("page", ["/", "/docs"])
async def test_a_page_loads_nothing_from_elsewhere_and_everything_it_names_is_served(api_world: ApiWorld, page: str) -> None:
    async with api_world.client(None) as client:
        answer = await client.get(page)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        found = links(answer.text)
        assert found.addresses
        assert not found.inline
        for address in found.addresses:
            assert not re.match(r"(?i)[a-z]+:|//", address), address
            assert (await client.get(address)).status_code == 200, address
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "http" not in policy


@pytest.mark.anyio
async def test_the_documentation_is_a_current_swagger_ui_that_asks_nobody_else(api_world: ApiWorld) -> None:
    async with api_world.client(None) as client:
        bundle = await client.get("/assets/docs/swagger-ui-bundle.js")
        assert bundle.headers["Content-Type"].startswith("text/javascript")
        version = re.search(r'PACKAGE_VERSION:"(\d+)\.(\d+)', bundle.text)
        assert version is not None
        assert (int(version[1]), int(version[2])) >= (5, 30)
        start = (await client.get("/assets/docs/docs.js")).text
        assert "validatorUrl: null" in start
        assert "http" not in start


@pytest.mark.anyio
async def test_the_welcome_says_what_this_is_and_holds_no_script(api_world: ApiWorld) -> None:
    async with api_world.client(None) as client:
        page = (await client.get("/")).text
        assert __version__ in page
        assert "<script" not in page
        moved = await client.get("/agent-servicing.html")
        assert (moved.status_code, moved.headers["Location"]) == (307, "/")


@pytest.mark.anyio
async def test_what_can_be_read_can_be_asked_for_without_its_body(api_world: ApiWorld) -> None:
    async with api_world.client(None) as anonymous, api_world.client(api_world.admin_token) as client:
        for path, status in (("/healthz", 200), ("/docs", 200), (f"{PREFIX}/agents", 401)):
            answer = await anonymous.head(path)
            assert (answer.status_code, answer.content) == (status, b""), path
            assert int(answer.headers["Content-Length"]) > 0
        assert (await client.head(f"{PREFIX}/agents")).status_code == 200
        assert (await client.head(f"{PREFIX}/agents/Nobody")).status_code == 404


@pytest.mark.anyio
async def test_every_answer_carries_the_security_headers(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client, api_world.client(None) as anonymous:
        for answer in (
            await client.get(f"{PREFIX}/agents"),
            await client.get(f"{PREFIX}/agents/Nobody"),
            await anonymous.get(f"{PREFIX}/agents"),
            await anonymous.get("/healthz"),
        ):
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["X-Frame-Options"] == "DENY"
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert answer.headers["X-Request-Id"]
            assert "server" not in answer.headers


@pytest.mark.anyio
async def test_every_operation_is_described_with_examples_and_problems(api_world: ApiWorld) -> None:
    document = api_world.app.openapi()
    schemas = document["components"]["schemas"]

    def has_example(content: dict[str, Any]) -> bool:
        schema = content.get("schema", {})
        names = [part["$ref"].rpartition("/")[2] for part in (schema, *schema.get("anyOf", [])) if "$ref" in part]
        return "example" in content or (bool(names) and all(schemas[name].get("examples") for name in names))

    seen: set[str] = set()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            assert operation["description"], where
            assert operation["tags"], where
            assert operation["operationId"] not in seen
            seen.add(operation["operationId"])
            good = [r for status, r in operation["responses"].items() if status.startswith("2")]
            assert good, where
            for content in (c for response in good for c in response.get("content", {}).values()):
                assert has_example(content), where
            if "requestBody" in operation:
                (body,) = operation["requestBody"]["content"].values()
                schema = body["schema"]
                names = [p["$ref"].rpartition("/")[2] for p in (schema, *schema.get("anyOf", [])) if "$ref" in p]
                assert all(schemas[name]["examples"] for name in names), where
                assert names, where
            problems = [r for status, r in operation["responses"].items() if status[0] in "45" and "Ready" not in str(r)]
            assert problems, where
            assert all("application/problem+json" in r["content"] for r in problems), where
            if path.startswith("/api"):
                assert operation["x-required-role"], where
                assert {"401", "403"} <= operation["responses"].keys(), where
    assert document["security"] == [{"token": []}, {"session": []}]


def test_no_route_sends_anything_to_a_thread_that_only_looks_something_up() -> None:
    """FastAPI calls what is not asynchronous in a thread, which costs a report of an instance more than everything else."""

    def called(dependant: Dependant) -> Iterator[Any]:
        yield dependant.call
        for inner in dependant.dependencies:
            yield from called(inner)

    modules = [import_module(f"{routes.__name__}.{found.name}") for found in pkgutil.iter_modules(routes.__path__)]
    every = [route for module in modules for route in module.router.routes if isinstance(route, APIRoute)]
    assert len(every) > 50
    assert {call.__qualname__ for route in every for call in called(route.dependant) if not iscoroutinefunction(call)} == set()


@pytest.mark.anyio
async def test_the_description_is_served_and_its_references_lead_somewhere(api_world: ApiWorld) -> None:
    async with api_world.client(None) as client:
        answer = await client.get("/openapi.json")
        for name in re.findall(r'"#/components/schemas/([^"]+)"', answer.text):
            assert name in answer.json()["components"]["schemas"], name
        assert "HTTPValidationError" not in answer.text


@pytest.mark.anyio
async def test_examples_of_bodies_are_bodies(api_world: ApiWorld) -> None:
    from agent_servicing.web.schemas import access, agents, analysis, deployments, upgrade, versions

    for module in (access, agents, analysis, deployments, upgrade, versions):
        for model in vars(module).values():
            for example in (getattr(model, "model_config", None) or {}).get("json_schema_extra", {}).get("examples", ()):
                model.model_validate(example)


@pytest.mark.anyio
async def test_readiness_names_the_part_that_is_not_alive_and_nothing_more(api_world: ApiWorld) -> None:
    async def fine() -> None:
        return None

    async def broken() -> None:
        raise RuntimeError("the password is swordfish")

    app = create_app(
        api_world.services,
        settings=api_world.app.state.context.settings,
        clock=api_world.clock,
        ids=api_world.app.state.context.ids,
        bus=api_world.bus,
        readiness={"store": fine, "router": broken},
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        assert answer.json() == {"status": "not_ready", "checks": {"event_bus": "ok", "router": "failed", "store": "ok"}}
        assert (await client.get("/healthz")).status_code == 200


@pytest.mark.anyio
async def test_a_server_whose_broker_is_away_is_ready_and_says_so(api_world: ApiWorld) -> None:
    bus, context = RelayBus("nats"), api_world.app.state.context
    app = create_app(api_world.services, settings=context.settings, clock=api_world.clock, ids=context.ids, bus=bus)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()) == (200, {"status": "ready", "checks": {"event_bus": "degraded"}})
        bus.connected()
        assert (await client.get("/readyz")).json()["checks"] == {"event_bus": "ok"}
    await bus.close()


@pytest.mark.anyio
async def test_prometheus_gets_the_fleet_the_traffic_and_what_ended(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:

        async def numbers() -> dict[tuple[str, ...], float]:
            text = (await client.get("/metrics")).text
            return {
                (sample.name, *(v for _, v in sorted(sample.labels.items()))): sample.value
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }

        await numbers()
        await api_world.add(client)
        await api_world.turn()
        upgrade = await api_world.upgrade(client)
        await api_world.until(client, upgrade["upgrade_id"], "completed")
        moment = api_world.clock.now()
        await api_world.tell(
            Event(type=events.ROLLBACK_TRIGGERED, at=moment, agent=AGENT, data={"auto_triggered": True, "metric": "error_rate"}),
            Event(type=events.ROLLBACK_TRIGGERED, at=moment, agent=AGENT, data={"auto_triggered": False}),
        )
        found = await numbers()
        assert found["servicing_agents", "healthy"] == 1
        assert found["servicing_instances", AGENT, "ready", "1.3.0"] == 2
        assert found["servicing_deployments_closed_total", "upgrade", "success"] == 1
        assert found["servicing_deployments_closed_total", "install", "success"] == 1
        assert found["servicing_deployment_duration_seconds_count", "upgrade"] == 1
        assert found["servicing_rollbacks_total", "error_rate"] == 1
        assert found["servicing_rollbacks_total", "operator"] == 1
        assert found["servicing_unserved_requests", AGENT] == 0
        assert found["servicing_limited_requests", AGENT] == 0
        assert found["servicing_info", __version__] == 1
        again = await numbers()
        assert again["servicing_rollbacks_total", "error_rate"] == 1
        api_world.metrics.reachable = False
        assert ("servicing_unserved_requests", AGENT) not in await numbers()


@pytest.mark.anyio
async def test_prometheus_gets_the_engines_numbers_where_they_are_given(api_world: ApiWorld) -> None:
    context = api_world.app.state.context
    app = create_app(
        api_world.services,
        settings=context.settings,
        clock=context.clock,
        ids=context.ids,
        bus=context.bus,
        engine=lambda: EngineStats(reconciles=7, failures=1, reconcile_seconds=0.5),
    )
    headers = {"Authorization": f"Bearer {api_world.admin_token}"}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server", headers=headers) as client:
        text = (await client.get("/metrics")).text
        assert "servicing_engine_reconciles_total 7.0" in text
        assert "servicing_engine_failures_total 1.0" in text


ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs/guides/api.md").read_text()
CODE_PATTERNS = (
    r'code="(\w+)"',
    r'^    code(?:: str)? = "(\w+)"',
    r'_invalid\(\s*"(\w+)"',
    r'Refusal\(\s*"(\w+)"',
    r'problem_response\(\s*\w+(?:\(scope\))?,\s*\d+,\s*"(\w+)"',
)


def test_every_error_code_is_in_the_guide() -> None:
    codes = {
        code
        for folder in ("core", "services", "store", "web")
        for file in (ROOT / "src/agent_servicing" / folder).rglob("*.py")
        for pattern in CODE_PATTERNS
        for code in re.findall(pattern, file.read_text(), re.MULTILINE)
    }
    assert len(codes) > 50
    # These meet only whoever starts the server, and whoever derives a new family of errors.
    assert {code for code in codes if f"`{code}`" not in GUIDE} == {"admin_token", "database_in_use", "servicing_error", "tls_unusable"}


@pytest.mark.anyio
async def test_every_metric_is_in_the_guide(api_world: ApiWorld) -> None:
    async with api_world.client(api_world.admin_token) as client:
        await api_world.add(client)
        text = (await client.get("/metrics")).text
    names = set(re.findall(r"^# TYPE (\w+?)(?:_created)? ", text, re.MULTILINE))
    assert len(names) > 12
    assert {name for name in names if f"`{name}`" not in GUIDE} == set()
