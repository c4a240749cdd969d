"""Several processes run the suite: most tests beside one another, those that measure shares or processor time alone.

`tests/conftest.py` enters a room for each test. A turnstile before it keeps the order: who waits to be alone lets nobody past.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def room(*, alone: bool) -> Iterator[None]:
    """Returns once the test may run: at once beside other ordinary tests, or when there are no others. One process needs no room."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID")
    if run is None:
        yield
        return
    place = Path(tempfile.gettempdir()) / f"servicing-tests-{run}"
    with place.with_suffix(".turnstile").open("w") as turnstile, place.with_suffix(".room").open("w") as inside:
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(inside, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(turnstile, fcntl.LOCK_UN)
        yield
