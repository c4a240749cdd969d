"""The connection to the database: one short transaction at a time for writers, a pool for readers. Used by the store and the services."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy.ext.asyncio import AsyncConnection


class Database:
    """Open with `Database.open(url)`; everything is closed at the end of the block."""

    @classmethod
    @asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator["Database"]:
        """Connect to `sqlite:///path` or `postgresql://…` and bring the schema up to date.

        Raises PermanentError when it was written by a newer version of this program or cannot be opened at all.
        """
        raise NotImplementedError
        yield cls()

    @asynccontextmanager
    async def write(self, *, durable: bool = True) -> AsyncIterator[AsyncConnection]:
        raise NotImplementedError
        yield

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        raise NotImplementedError
        yield
