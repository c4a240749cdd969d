"""What makes the database itself refuse to change or remove audit entries. Created by migration 0012.

Whoever may drop triggers can get past them; the hash chain is what finds that. They keep a slip in our own code, a script and a careless
console from doing it. An empty log may be replaced, by a backup that is restored. The only other way out is the archive's: it first moves
`log_head.archived_entries` up to what it has written to a file.
"""

from typing import Final

REFUSAL: Final = "audit entries are append-only"

_CHANGED: Final = "OLD.audit"
_REMOVED: Final = "OLD.audit AND (OLD.entry IS NULL OR OLD.entry > (SELECT archived_entries FROM log_head))"
_HEAD_BACK: Final = "NEW.last_seq < OLD.last_seq OR NEW.audit_entries < OLD.audit_entries OR NEW.archived_entries < OLD.archived_entries"
_HEAD_USED: Final = "OLD.last_seq > 0"
_HEAD_PAST: Final = "NEW.archived_entries > NEW.audit_entries"

_SQLITE: Final = (
    f"""CREATE TRIGGER audit_unchanged BEFORE UPDATE ON events WHEN {_CHANGED}
    BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END""",
    f"""CREATE TRIGGER audit_kept BEFORE DELETE ON events WHEN {_REMOVED}
    BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END""",
    # INSERT OR REPLACE removes the row in its way without asking the triggers of DELETE.
    f"""CREATE TRIGGER audit_not_replaced BEFORE INSERT ON events
    WHEN (SELECT audit FROM events WHERE seq = NEW.seq) OR (SELECT audit FROM events WHERE event_id = NEW.event_id)
      OR EXISTS (SELECT 1 FROM events WHERE audit AND entry = NEW.entry)
    BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END""",  # noqa: S608 (nothing in it comes from outside)
    """CREATE TRIGGER log_head_one BEFORE INSERT ON log_head WHEN EXISTS (SELECT 1 FROM log_head)
    BEGIN SELECT RAISE(ABORT, 'the log only grows'); END""",
    f"""CREATE TRIGGER log_head_forward BEFORE UPDATE ON log_head WHEN {_HEAD_BACK} OR {_HEAD_PAST}
    BEGIN SELECT RAISE(ABORT, 'the log only grows'); END""",
    f"""CREATE TRIGGER log_head_kept BEFORE DELETE ON log_head WHEN {_HEAD_USED}
    BEGIN SELECT RAISE(ABORT, 'the log only grows'); END""",
)

_POSTGRESQL: Final = (
    f"""CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION '{REFUSAL}';
      ELSIF TG_OP = 'UPDATE' AND {_CHANGED} THEN
        RAISE EXCEPTION '{REFUSAL}';
      ELSIF TG_OP = 'DELETE' AND {_REMOVED} THEN
        RAISE EXCEPTION '{REFUSAL}';
      ELSIF TG_OP = 'DELETE' THEN
        RETURN OLD;
      END IF;
      RETURN NEW;
    END $$""",
    f"""CREATE FUNCTION log_head_only_grows() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'TRUNCATE' THEN
        RAISE EXCEPTION 'the log only grows';
      ELSIF TG_OP = 'DELETE' AND {_HEAD_USED} THEN
        RAISE EXCEPTION 'the log only grows';
      ELSIF TG_OP = 'DELETE' THEN
        RETURN OLD;
      ELSIF {_HEAD_BACK} OR {_HEAD_PAST} THEN
        RAISE EXCEPTION 'the log only grows';
      END IF;
      RETURN NEW;
    END $$""",
    "CREATE TRIGGER audit_unchanged BEFORE UPDATE OR DELETE ON events FOR EACH ROW EXECUTE FUNCTION audit_append_only()",
    "CREATE TRIGGER audit_kept BEFORE TRUNCATE ON events FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()",
    "CREATE TRIGGER log_head_forward BEFORE UPDATE OR DELETE ON log_head FOR EACH ROW EXECUTE FUNCTION log_head_only_grows()",
    "CREATE TRIGGER log_head_kept BEFORE TRUNCATE ON log_head FOR EACH STATEMENT EXECUTE FUNCTION log_head_only_grows()",
)


def guards(dialect: str) -> tuple[str, ...]:
    """The statements that set them up on this database."""
    return _SQLITE if dialect == "sqlite" else _POSTGRESQL


def unguarded(dialect: str) -> tuple[str, ...]:
    """The statements that take them away: what somebody with the rights of an owner would do first, and a later migration of the table."""
    if dialect == "sqlite":
        names = ("audit_unchanged", "audit_kept", "audit_not_replaced", "log_head_one", "log_head_forward", "log_head_kept")
        return tuple(f"DROP TRIGGER {name}" for name in names)
    return ("DROP FUNCTION audit_append_only CASCADE", "DROP FUNCTION log_head_only_grows CASCADE")
