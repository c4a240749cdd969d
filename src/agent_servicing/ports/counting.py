"""What a `Router` may count beyond `RoutingView`. Asked with `isinstance` by the services."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


@runtime_checkable
class CountsConversations(Protocol):
    """A `Router` that knows how many conversations it keeps for each generation."""

    async def conversations(self, agent: str) -> Mapping[int, int] | None:
        """By generation: conversations that it answered last. None for an agent without a key for them. Raises `TemporaryError`."""
        ...
