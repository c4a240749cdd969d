"""Pages of lists that are complete in memory. Longer lists (deployments, audit) are paged by their queries."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from agent_servicing.web.schemas.queries import PageQuery

T = TypeVar("T")


def page_after(items: Sequence[T], key: Callable[[T], str], query: PageQuery) -> tuple[list[T], str | None]:
    """The items after the one the cursor names, and the cursor of the next page. `items` are in their order; an unknown cursor starts anew."""
    start = 0
    if query.cursor is not None:
        start = next((place for place, item in enumerate(items, start=1) if key(item) == query.cursor), 0)
    page = list(items[start : start + query.limit])
    more = start + query.limit < len(items)
    return page, key(page[-1]) if more and page else None
