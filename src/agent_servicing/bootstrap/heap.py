"""When the interpreter looks for garbage. Run by `serve`.

Python looks through everything that is alive each time a quarter has been added, and nothing else goes on meanwhile: with a thousand agents that
is a few hundred thousand values that never become garbage, and a pause in which dozens of requests wait.
"""

import gc
from typing import Final

from agent_servicing.ports import Clock

THRESHOLDS: Final = (5_000, 20, 20)
"""Python's own are 700, 10 and 10; almost everything here is freed without looking, because nothing refers to itself."""

SETTLED_SECONDS: Final = 60.0
"""After this all agents have been read once, and what is known of them stays."""


async def settle(clock: Clock) -> None:
    """Leave what was built at the start out of all looks from now on, and once more what has come in the first minute.

    Not more often: what is left out and falls out of use in a ring is never found.
    """
    gc.set_threshold(*THRESHOLDS)
    for seconds in (0.0, SETTLED_SECONDS):
        await clock.sleep(seconds)
        gc.collect()
        gc.freeze()
