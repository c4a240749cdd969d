"""The built page as it is served: one document for each of its addresses, a nonce of its own in each answer, files that are kept for ever."""

import gzip
import re
from pathlib import Path

import httpx
import pytest

from agent_servicing.adapters.system import RandomIds
from agent_servicing.web.page import Page
from tests.integration.api_world import AGENT, PREFIX, ApiWorld

pytestmark = pytest.mark.anyio
DOCUMENT = """<!doctype html>
<meta property="csp-nonce" nonce="__CSP_NONCE__">
<script type="module" src="/assets/index-1.js" nonce="__CSP_NONCE__"></script>
"""
SCRIPT = "console.log('a page');\n" * 100


@pytest.fixture
def built(api_world: ApiWorld, tmp_path: Path) -> ApiWorld:
    folder = tmp_path / "static"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text(DOCUMENT)
    (folder / "favicon.svg").write_text("<svg/>")
    (folder / "color-scheme.js").write_text("1;")
    (folder / "assets/index-1.js").write_text(SCRIPT)
    (tmp_path / "secret.txt").write_text("not to be served")
    api_world.app.state.page = Page(RandomIds(), folder)
    return api_world


def nonces(answer: httpx.Response) -> set[str]:
    in_text = re.findall(r'nonce="([^"]+)"', answer.text)
    in_policy = re.findall(r"'nonce-([^']+)'", answer.headers["Content-Security-Policy"])
    return {*in_text, *in_policy}


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/sign-in",
        "/agents",
        f"/agents/{AGENT}?tab=versions",
        "/agents/Nobody/deployments/upg-1",
        "/audit",
        "/deployments",
        "/settings",
    ],
)
async def test_every_address_of_the_page_can_be_reloaded_by_somebody_who_is_not_signed_in(built: ApiWorld, address: str) -> None:
    async with built.client(None) as client:
        answer = await client.get(address)
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache")
        assert "ETag" not in answer.headers, "an unchanged body would come with another nonce in its policy"
        assert answer.text.startswith("<!doctype html>")
        assert (await client.head(address)).status_code == 200


async def test_each_answer_has_a_nonce_of_its_own_and_allows_nothing_inline(built: ApiWorld) -> None:
    async with built.client(None) as client:
        one, two = await client.get("/"), await client.get("/")
        assert len(nonces(one)) == len(nonces(two)) == 1
        assert nonces(one) != nonces(two)
        policy = one.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "__CSP_NONCE__" not in one.text


async def test_files_with_a_hash_in_their_name_are_kept_for_ever_and_sent_compressed(built: ApiWorld) -> None:
    async with built.client(None) as client:
        async with client.stream("GET", "/assets/index-1.js", headers={"Accept-Encoding": "gzip"}) as answer:
            raw = b"".join([piece async for piece in answer.aiter_raw()])
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        assert answer.headers["Content-Type"].startswith("text/javascript")
        assert gzip.decompress(raw).decode() == SCRIPT
        plain = await client.get("/assets/index-1.js", headers={"Accept-Encoding": "identity"})
        assert (plain.text, plain.headers["Vary"]) == (SCRIPT, "Accept-Encoding")
        assert (await client.get("/favicon.svg")).headers["Cache-Control"] == "public, max-age=3600"


@pytest.mark.parametrize("address", ["/assets/nothing.js", "/assets/%2e%2e/%2e%2e/secret.txt", "/assets/index.html"])
async def test_what_is_no_file_of_the_page_is_a_404_and_never_the_document(built: ApiWorld, address: str) -> None:
    async with built.client(None) as client:
        answer = await client.get(address)
        assert (answer.status_code, answer.headers["Content-Type"]) == (404, "application/problem+json")


async def test_the_page_opens_nothing_of_the_api(built: ApiWorld) -> None:
    async with built.client(None) as client:
        for path in (f"{PREFIX}/agents", f"{PREFIX}/audit", "/metrics", "/anything"):
            assert (await client.get(path)).status_code == 401, path
        assert (await client.post("/agents", json={})).status_code == 401


async def test_without_a_built_page_its_addresses_do_not_exist(api_world: ApiWorld) -> None:
    async with api_world.client(None) as client:
        assert (await client.get("/agents")).status_code == 404
        assert (await client.get("/favicon.svg")).status_code == 404


async def test_a_person_at_an_address_that_is_not_there_gets_the_page_which_says_so_and_a_program_a_problem(built: ApiWorld) -> None:
    async with built.client(built.admin_token) as client:
        person = await client.get("/nowhere", headers={"Accept": "text/html,*/*"})
        assert (person.status_code, person.text.startswith("<!doctype html>")) == (404, True)
        for address, accepts in (
            ("/nowhere", "application/json"),
            ("/api/platform/nowhere", "text/html"),
            ("/assets/nowhere.js", "text/html"),
        ):
            program = await client.get(address, headers={"Accept": accepts})
            assert (program.status_code, program.headers["Content-Type"]) == (404, "application/problem+json")
