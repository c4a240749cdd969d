"""Takes the pictures of README.md and docs/guides/page.md from a running demo, into docs/images/. Called by `make screenshots`.

Starts the demo on free ports in a folder of its own, waits until its history is made, looks at it with Chromium, and ends both. A picture that is
too large for a repository, or a place of the page that is not there any more, ends it with an error.
"""

import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from playwright.sync_api import Browser, Page, sync_playwright

from tests.browser.conftest import FLAGS, PATIENCE_MS, chromium

IMAGES = Path(__file__).parents[1] / "docs/images"
KILOBYTES_MAX = 150
END_SECONDS = 120
WAIT_MS = 5 * PATIENCE_MS
CHARTS_MS = 75_000
"""What the live charts show is what came since the page was opened: some of it makes a picture."""

WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """One that has played its acts. `token` is its admin's."""

    url: str
    token: str

    def newest(self, what: str, **wanted: str) -> str:
        """The id of the newest run or deployment below `what` that is like that."""
        answer = httpx.get(f"{self.url}/api/platform/agents/{what}", headers=self._headers, timeout=PATIENCE_MS / 1000)
        (found,) = (entries for name, entries in answer.json().items() if name in ("upgrades", "runs"))
        entry = next(each for each in found if all(each[key] == value for key, value in wanted.items()))
        return str(entry.get("upgrade_id") or entry["run_id"])

    def sign_in_url(self) -> str:
        return str(httpx.post(f"{self.url}/api/platform/tokens/sign-in", headers=self._headers, timeout=PATIENCE_MS / 1000).json()["url"])

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}


@contextmanager
def a_demo() -> Iterator[Demo]:
    """Up to its last act; ended, with all its agents, whatever happens."""
    with tempfile.TemporaryDirectory(prefix="servicing-pictures-") as folder:
        data = Path(folder) / "demo-data"
        command = [sys.executable, "-m", "agent_servicing.cli.main", "demo", "--quick"]
        command += ["--port", "0", "--router-port", "0", "--data-dir", str(data)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True) as process:
            try:
                said = _until("== Now you ==", process)
                (url,) = re.findall(r"API and page +(\S+)/", said)
                yield Demo(url=url, token=(data / "admin.token").read_text().strip())
            finally:
                process.terminate()
                process.communicate(timeout=END_SECONDS)


def _until(text: str, process: "subprocess.Popen[str]") -> str:
    said: list[str] = []
    for line in process.stdout or ():
        said.append(line)
        _say(line)
        if text in line:
            return "".join(said)
    raise SystemExit("screenshots: the demo ended before its time")


def _say(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()


@contextmanager
def looked_at(browser: Browser, demo: Demo, size: dict[str, int] = WIDE, scheme: str = "light") -> Iterator[Page]:
    """A page of somebody who has signed in."""
    with browser.new_context(color_scheme=scheme, viewport=size, reduced_motion="reduce") as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.goto(demo.sign_in_url())
        page.get_by_role("heading", name="Dashboard").wait_for()
        yield page


def show(page: Page, demo: Demo, address: str, *, until: str) -> None:
    """Go there, and wait until it says `until` and nothing is on its way any more."""
    page.goto(demo.url + address)
    page.get_by_text(until).first.wait_for()
    page.locator("[aria-busy=true]").first.wait_for(state="detached")
    page.get_by_text("Live", exact=True).wait_for()


def keep(page: Page, name: str) -> None:
    file = IMAGES / f"{name}.png"
    page.mouse.move(0, 0)
    page.screenshot(path=file)
    kilobytes = file.stat().st_size / 1000
    _say(f"docs/images/{file.name}: {kilobytes:.0f} kB\n")
    if kilobytes > KILOBYTES_MAX:
        raise SystemExit(f"screenshots: {file.name} has more than {KILOBYTES_MAX} kB")


def overview(page: Page, demo: Demo) -> None:
    show(page, demo, "/", until="Needs attention")
    keep(page, "dashboard")
    show(page, demo, "/?rollback=WowOrchestrator", until="What will happen")
    page.get_by_text("Latency", exact=True).click()
    keep(page, "rollback")
    show(page, demo, "/agents/WowMemory?tab=versions", until="security")
    keep(page, "versions")
    show(page, demo, "/agents/WowMemory/upgrade?version=0.4.3&step=strategy", until="2. Strategy")
    keep(page, "wizard")
    show(page, demo, f"/agents/WowMemory/staging/{demo.newest('WowMemory/staging')}", until="Performance compared")
    keep(page, "staging")
    show(page, demo, f"/agents/WowCache/deployments/{demo.newest('WowCache/upgrades', status='rolled_back')}", until="The upright line")
    keep(page, "rolled-back")
    show(page, demo, "/deployments", until="The next 14 days")
    keep(page, "deployments")


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C does: what was started is ended
    IMAGES.mkdir(parents=True, exist_ok=True)
    with a_demo() as demo, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS.split())
        with (
            looked_at(browser, demo) as light,
            looked_at(browser, demo, scheme="dark") as dark,
            looked_at(browser, demo, size=PHONE) as phone,
        ):
            canary = f"/agents/WowDomain/deployments/{demo.newest('WowDomain/upgrades', strategy='canary')}"
            for page in (light, dark, phone):
                show(page, demo, canary, until="Requests compared")
            light.wait_for_timeout(CHARTS_MS)
            for name, page in (("monitor", light), ("monitor-dark", dark), ("monitor-phone", phone)):
                keep(page, name)
            overview(light, demo)
            show(dark, demo, "/audit", until="hash chain verified")
            keep(dark, "audit-dark")
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
