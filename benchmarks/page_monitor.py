"""(o) What the live monitor costs a browser: main-thread time per second, memory and elements, with a figure a second of a deployment that runs.

    python benchmarks/page_monitor.py [SECONDS] [TABS]        600 seconds for the soak, 5 tabs for the tabs

The deployment is real and waits at half of the traffic, under load. What is counted is one tab's; with several, all must be live in the end.
"""

import os
import shutil
import sys
import time
from typing import Any

from common import LoadProcess, a_scratch_server, report
from playwright.sync_api import CDPSession, Page, sync_playwright

from tests.browser.conftest import FLAGS, sign_in
from tests.e2e.harness import a_version, an_agent

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 60
TABS = int(sys.argv[2]) if len(sys.argv) > 2 else 1
SETTLED_SECONDS = 10
REQUESTS_PER_SECOND = 50
BUDGET = {"main_thread_ms_per_second": 30.0, "heap_growth_mb": 2.0}


def main() -> None:
    with a_scratch_server() as server, sync_playwright() as playwright:
        a_version(an_agent(server, agent="Echo", instances=2), "1.1.0")
        server.post("/agents/Echo/versions/refresh", expect=200)
        load = LoadProcess(server.router_url, "Echo", rate=REQUESTS_PER_SECOND, seconds=SECONDS + 300)
        name = server.upgrade("1.1.0", blue_green={"steps": [50, 100], "monitor_seconds": SECONDS + 600})
        server.stage(name, "monitor_metrics_50")
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM_PATH") or shutil.which("chromium"), args=FLAGS.split()
        )
        context = browser.new_context(viewport={"width": 1440, "height": 900})
        first = context.new_page()
        sign_in(first, server)
        tabs = [first, *(context.new_page() for _ in range(TABS - 1))]
        for tab in tabs:
            tab.goto(f"{server.info['api_url']}/agents/Echo/deployments/{name}")
            tab.get_by_role("region", name="Requests").get_by_text("/s").first.wait_for()
        figures = measure(first)
        live = [tab.get_by_text("Live", exact=True).is_visible() for tab in tabs]
        load.end()
        browser.close()
    within = {each: figures[each] <= limit for each, limit in BUDGET.items()}
    report(f"page_monitor_{SECONDS}_{TABS}", {**figures, "tabs_live": f"{sum(live)} of {TABS}", "within_budget": within})


def measure(page: Page) -> dict[str, Any]:
    """From a moment after everything was drawn; memory after a collection of garbage, so that only what is kept counts."""
    talk = page.context.new_cdp_session(page)
    talk.send("Performance.enable")
    time.sleep(SETTLED_SECONDS)
    before, began = counts(talk), time.perf_counter()
    page.evaluate(
        "window.redrawn = 0; new MutationObserver(() => window.redrawn++).observe(document.body, {subtree: true, characterData: true})"
    )
    time.sleep(SECONDS)
    worked, seconds = counts(talk, collect=False), time.perf_counter() - began
    after = counts(talk)
    return {
        "what": f"the monitor of a running deployment, {SECONDS} s, {TABS} tab(s), {REQUESTS_PER_SECOND} requests/s",
        "main_thread_ms_per_second": round(1000 * (worked["TaskDuration"] - before["TaskDuration"]) / seconds, 1),
        "of_that_script_ms_per_second": round(1000 * (worked["ScriptDuration"] - before["ScriptDuration"]) / seconds, 1),
        "heap_mb": [round(each["JSHeapUsedSize"] / 1e6, 2) for each in (before, after)],
        "heap_growth_mb": round((after["JSHeapUsedSize"] - before["JSHeapUsedSize"]) / 1e6, 2),
        "nodes": [int(before["Nodes"]), int(after["Nodes"])],
        "listeners": [int(before["JSEventListeners"]), int(after["JSEventListeners"])],
        "times_that_text_changed": page.evaluate("window.redrawn"),
    }


def counts(talk: CDPSession, *, collect: bool = True) -> dict[str, float]:
    if collect:
        talk.send("HeapProfiler.collectGarbage")
    return {each["name"]: each["value"] for each in talk.send("Performance.getMetrics")["metrics"]}


if __name__ == "__main__":
    main()
