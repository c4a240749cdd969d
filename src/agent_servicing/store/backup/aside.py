"""What a PostgreSQL database holds of ours, moved out of the way without being lost. Called by `bootstrap.restore`, inside its one transaction."""

from sqlalchemy import Connection, inspect, text

from agent_servicing.store.backup.dump import REVISION_TABLE
from agent_servicing.store.tables import metadata


def tables_there(connection: Connection) -> list[str]:
    """Our tables in this database, by name."""
    ours = {*metadata.tables, REVISION_TABLE}
    return sorted(ours.intersection(inspect(connection).get_table_names()))


def set_aside(connection: Connection, schema: str) -> None:
    """Move our tables, and the functions that only their triggers call, into a new schema of that name."""
    quote = connection.dialect.identifier_preparer.quote
    connection.execute(text(f"CREATE SCHEMA {quote(schema)}"))
    for name in tables_there(connection):
        for function in _functions(connection, name):
            connection.execute(text(f"ALTER FUNCTION {function} SET SCHEMA {quote(schema)}"))
        connection.execute(text(f"ALTER TABLE {quote(name)} SET SCHEMA {quote(schema)}"))


def _functions(connection: Connection, table: str) -> list[str]:
    """Functions of this table's triggers that are still where the tables are."""
    query = text(
        "SELECT DISTINCT p.oid::regprocedure::text FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid "
        "JOIN pg_namespace n ON n.oid = p.pronamespace "
        "WHERE t.tgrelid = to_regclass(:table) AND NOT t.tgisinternal AND n.nspname = current_schema()"
    )
    return [str(name) for name in connection.execute(query, {"table": table}).scalars()]
