"""(q) The page with 500 agents in Chromium: until the dashboard can be used, what it asks for, and what a storm of events costs it.

A new visitor each time, nothing cached. *Usable*: the agents' rows with their buttons stand there and the main thread is idle; counted
by the browser from the beginning of the navigation. Main-thread time is what Chromium spent on tasks until then, which a busy
machine stretches less than the clock.

About a minute: `.venv/bin/python benchmarks/page_500.py`, with nothing else going on.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from common import report
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

AGENTS, RUNS, STORM = 500, 7, 200
USABLE = """() => document.querySelector('table[aria-label="Agents"] tbody a') && new Promise(done =>
  requestIdleCallback(() => done(performance.now()), { timeout: 10000 }))"""


def main() -> None:
    program = str(Path(__file__).with_name("pretended_server.py"))
    words = [sys.executable, program, "--copies", str(AGENTS), "--of-an-agent", "1"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            ready = json.loads(server.stdout.readline())
            with sync_playwright() as playwright:
                path = os.environ.get("CHROMIUM_PATH") or shutil.which("chromium")
                browser = playwright.chromium.launch(executable_path=path, args=["--headless", "--no-sandbox", "--disable-gpu"])
                found = measured(browser, f"http://127.0.0.1:{ready['port']}", ready["admin"])
        finally:
            server.communicate("", timeout=60)
    report("page_500", {"agents": AGENTS, "runs": RUNS, **found})


def measured(browser: Browser, address: str, token: str) -> dict[str, Any]:
    with httpx.Client(base_url=f"{address}/api/platform", headers={"Authorization": f"Bearer {token}"}, timeout=60) as http:
        runs = {place: [opened(browser, http, address, place) for _ in range(RUNS)] for place in ("/", "/agents", "/deployments")}
        figures = {
            place: {name: statistics.median(run[name] for run in several) for name in several[0]}
            | {"worst_ms": max(r["usable_ms"] for r in several)}
            for place, several in runs.items()
        }
        return {"load_average": round(os.getloadavg()[0], 1), "opened": figures, "storm": storm(browser, http, address)}


def signed_in(browser: Browser, http: httpx.Client, address: str) -> Page:
    """A new browser profile that has the session and nothing else of us."""
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    link = http.post("/tokens/sign-in").raise_for_status().json()["sign_in_token"]
    answer = page.request.post(f"{address}/api/platform/session", data={"sign_in_token": link}, headers={"Origin": address})
    assert answer.ok, answer.text()
    return page


def opened(browser: Browser, http: httpx.Client, address: str, place: str) -> dict[str, float]:
    page = signed_in(browser, http, address)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
    browser_side = page.context.new_cdp_session(page)
    browser_side.send("Performance.enable")
    page.goto(f"{address}{place}", wait_until="commit")
    usable = page.wait_for_function(
        USABLE.replace("Agents", "Deployments of all agents") if place == "/deployments" else USABLE, timeout=120_000
    )
    found = {
        "usable_ms": round(usable.json_value()),
        "main_thread_ms": round(1000 * spent(browser_side)),
        "api_requests": len(asked),
        "elements": page.evaluate("document.querySelectorAll('*').length"),
    }
    page.context.close()
    return found


def spent(browser_side: CDPSession) -> float:
    """Seconds of tasks on the main thread since the page began."""
    return float(next(each["value"] for each in browser_side.send("Performance.getMetrics")["metrics"] if each["name"] == "TaskDuration"))


def storm(browser: Browser, http: httpx.Client, address: str) -> dict[str, float]:
    """Events of 200 agents, as fast as the API takes the acts that make them, with the dashboard open."""
    page = signed_in(browser, http, address)
    heard: list[int] = []
    asked: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda _: heard.append(1)))
    page.goto(address)
    page.wait_for_function(USABLE, timeout=120_000)
    page.get_by_role("status").get_by_text("Live").wait_for(timeout=60_000)
    page.on("request", lambda request: asked.append(request.url) if "/api/" in request.url else None)
    browser_side = page.context.new_cdp_session(page)
    browser_side.send("Performance.enable")
    before, frames, begun = spent(browser_side), len(heard), time.perf_counter()
    for number in range(STORM):
        http.post(f"/agents/Agent{number}/scale", json={"instances": 2, "reason": "a storm"}).raise_for_status()
    page.wait_for_function(f"() => document.body.innerText.includes('Agent{STORM - 1}')", timeout=120_000)
    took = time.perf_counter() - begun
    return {
        "seconds": round(took, 1),
        "events": len(heard) - frames,
        "api_requests": len(asked),
        "main_thread_ms_per_second": round(1000 * (spent(browser_side) - before) / took, 1),
    }


if __name__ == "__main__":
    main()
