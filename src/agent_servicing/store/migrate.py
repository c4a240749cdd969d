"""Brings a database to the newest schema. Called by `Database.open`, in one transaction: a failed migration leaves the old schema whole."""

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from agent_servicing.core.errors import PermanentError


def migrate(connection: Connection, revision: str = "head") -> None:
    """Run every migration up to `revision` that is missing. Raises PermanentError when the database is newer than this program."""
    config = _config()
    config.attributes["connection"] = connection
    found = MigrationContext.configure(connection).get_current_revision()
    for named in (found, None if revision == "head" else revision):
        if named is not None and named not in revisions():
            raise PermanentError(f"the database was written by a newer version of Agent Servicing (schema {named}); install that version")
    command.upgrade(config, revision)


def revisions() -> tuple[str, ...]:
    """Every schema this program knows, oldest first."""
    return tuple(script.revision for script in reversed(list(ScriptDirectory.from_config(_config()).walk_revisions())))


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "agent_servicing.store:migrations")
    config.set_main_option("path_separator", "os")
    return config
