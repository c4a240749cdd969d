"""What one instance was told last about its end: the engine may say it in every turn, the instance hears it once. Used by `hub` and `direct`."""

from dataclasses import dataclass
from typing import Final

from agent_servicing.core.actions import Goodbye

AGAIN_SECONDS: Final = 10.0
"""The same is said again only after so long: as often as an instance says what it made of it."""

SAME_SECONDS: Final = 1.0
"""Deadlines that lie closer together are the same one, read at another moment."""


@dataclass(slots=True)
class Told:
    """`goodbye` is the last one, `at` (monotonic) when it was said; None and None: nothing was said yet."""

    goodbye: Goodbye | None = None
    at: float | None = None

    def news(self, goodbye: Goodbye | None, now: float) -> bool:
        """Whether it is to be told; it counts as told from then on."""
        if self.at is not None and now - self.at < AGAIN_SECONDS and self._same(goodbye, now):
            return False
        self.goodbye, self.at = goodbye, now
        return True

    def left(self, now: float) -> Goodbye | None:
        """The same with what is left of its time now."""
        if self.goodbye is None or self.at is None:
            return None
        return Goodbye(seconds=round(max(0.0, self.goodbye.seconds - (now - self.at)), 3), reason=self.goodbye.reason)

    def _same(self, goodbye: Goodbye | None, now: float) -> bool:
        left = self.left(now)
        if goodbye is None or left is None:
            return goodbye is left
        return goodbye.reason == left.reason and abs(goodbye.seconds - left.seconds) < SAME_SECONDS
