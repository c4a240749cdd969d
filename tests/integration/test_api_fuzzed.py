"""Whatever a client sends, the API keeps to its own description: Schemathesis makes requests from the OpenAPI document, right and wrong ones."""

import sys
from collections.abc import Iterator
from typing import Any, Final

import httpx
import hypothesis
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from agent_servicing.adapters.system import SystemClock
from tests.e2e.harness import AGENT, Server, a_server, an_agent

pytestmark = pytest.mark.timeout(300)

EXAMPLES: Final = 5
"""Requests of each kind for each operation; the seed is fixed, so a failure comes again."""

SECONDS_MAX: Final = 60.0
"""For all operations together. On a machine that is too busy the last ones are left out, and the test says how many."""

PROMISES: Final = [status_code_conformance, content_type_conformance, response_headers_conformance, response_schema_conformance]

NAMED: Final = {"agent_id": AGENT}
"""Half of the requests are for an agent that there is, so that more than the first check is reached."""

LEFT_OUT: Final = frozenset({("delete", "/api/platform/agents/{agent_id}")})
"""Would take away what the others are asked about."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with a_server(tmp_path_factory.mktemp("fuzzed")) as running:
        an_agent(running, instances=1)
        yield running


def operations(server: Server) -> list[Any]:
    schema = schemathesis.openapi.from_url(f"{server.info['api_url']}/openapi.json")
    found = [result.ok() for result in schema.get_all_operations()]
    return [each for each in found if (each.method, each.path) not in LEFT_OUT]


def explored(operation: Any, mode: GenerationMode, act: Any) -> None:
    @hypothesis.seed(20260102)
    @hypothesis.settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
    def explore(case: Any) -> None:
        act(case)

    explore()


def test_every_answer_to_anything_is_one_that_the_description_promises(server: Server) -> None:
    clock, sent, left, problems = SystemClock(), 0, 0, []
    begun = clock.monotonic()
    token = (server.data_dir / "admin.token").read_text().strip()

    def act(case: Any) -> None:
        nonlocal sent
        sent += 1
        if sent % 2:
            case.path_parameters.update({name: value for name, value in NAMED.items() if name in case.path_parameters})
        answer = case.call(headers={"Authorization": f"Bearer {token}"}, timeout=20)
        assert answer.status_code != 500, f"{case.as_curl_command()}: {answer.text[:500]}"
        case.validate_response(answer, checks=PROMISES)

    for operation in operations(server):
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            if clock.monotonic() - begun > SECONDS_MAX:
                left += 1
                continue
            try:
                explored(operation, mode, act)
            except hypothesis.errors.Unsatisfiable:
                continue  # nothing about this operation can be wrong
            except (AssertionError, Failure, FailureGroup) as error:
                problems.append(f"{operation.method.upper()} {operation.path} ({mode.value}): {error}")
    sys.stdout.write(f"{sent} requests in {clock.monotonic() - begun:.0f} s, {left} explorations left out\n")
    assert problems == []
    assert sent > 100
    assert httpx.get(f"{server.info['api_url']}/readyz").status_code == 200
    assert "Traceback" not in server.log()
