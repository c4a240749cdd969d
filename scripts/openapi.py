"""Writes the API description to ui/openapi.json, from which the page's client is generated; `--check` fails when it is not up to date.

Called by `make page-api` and `make page-check`.
"""

import json
import sys
from pathlib import Path
from typing import Any, cast

from agent_servicing.adapters.system import RandomIds, SystemClock
from agent_servicing.settings import Settings
from agent_servicing.web.app import create_app

FILE = Path(__file__).parents[1] / "ui/openapi.json"


def main() -> int:
    # Describing the routes calls none of them, so nothing stands behind them.
    app = create_app(cast("Any", None), settings=Settings(), clock=SystemClock(), ids=RandomIds(), bus=cast("Any", None))
    text = json.dumps(app.openapi(), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    if "--check" in sys.argv:
        return 0 if FILE.exists() and FILE.read_text("utf-8") == text else 1
    FILE.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
