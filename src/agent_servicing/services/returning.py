"""What a rollback does with the state: which snapshot it puts back, and what each choice means in numbers. Used by `rollback`; pure."""

from collections.abc import Sequence
from dataclasses import replace

from agent_servicing.core.errors import Conflict, NotFound
from agent_servicing.core.manifest import StateSpec
from agent_servicing.core.state import Choice, SavedState, Written, conversion, door, readable


def chosen_snapshot(there: Sequence[SavedState], wanted: str | None, *, agent: str, target: str, spec: StateSpec) -> SavedState:
    """The one that was asked for, else the newest that the target version left, else the newest that it can read.

    Raises NotFound `unknown_snapshot`, Conflict `no_state`, `no_snapshot`, `snapshot_unreadable`.
    """
    if spec.directory is None:
        raise Conflict(f"{agent} {target} keeps no state: its manifest names no state directory.", code="no_state")
    usable = [saved for saved in there if readable(spec, saved.schema)]
    if wanted is not None:
        found = next((saved for saved in there if saved.snapshot == wanted), None)
        if found is None:
            raise NotFound(f"{agent} has no snapshot {wanted}.", hint=_names(usable), code="unknown_snapshot")
        if found not in usable:
            raise Conflict(
                f"{target} cannot read {wanted}: it holds state schema {found.schema}.", hint=_names(usable), code="snapshot_unreadable"
            )
        return found
    left = next((saved for saved in usable if saved.version == target), None) or next(iter(usable), None)
    if left is None:
        raise Conflict(f"{agent} has no snapshot that {target} can read.", hint='Ask for state "keep" instead.', code="no_snapshot")
    return left


def choices(old: StateSpec, new: StateSpec, *, target: str, snapshot: SavedState | None, written: Written | None) -> tuple[Choice, ...]:
    """Every choice there is for what `new` wrote when `old` is gone back to, the one that is taken when nobody says first.

    Numbers are None where nobody can count: there is no snapshot to compare with.
    """
    verdict, why = door(old, new)
    count = written.records if written is not None else None
    schema = conversion(old, new)
    keep = Choice(
        state="keep",
        possible=True,
        kept=count,
        converted=0,
        set_aside=0,
        sentence=f"Nothing is touched. {why[:1].upper()}{why[1:]}"
        + ("." if verdict == "two_way" else f": {target} may not be able to use all of it."),
    )
    convert = Choice(
        state="convert",
        possible=True,
        kept=0,
        converted=count,
        set_aside=0,
        sentence=f"The version that leaves converts what it wrote to state schema {schema}; what it cannot convert stays as it is.",
    )
    restore = _restore(target, snapshot, count)
    if restore.possible and any(store.kind == "http" for store in old.stores):
        restore = replace(
            restore, sentence=f"{restore.sentence} What only the agent itself can export is not put back (servicing state bring)."
        )
    return (*((convert,) if schema is not None else (keep,)), restore)


def _restore(target: str, snapshot: SavedState | None, count: int | None) -> Choice:
    if snapshot is None:
        sentence = f"There is no snapshot that {target} can read."
        return Choice(state="restore", possible=False, kept=None, converted=None, set_aside=None, sentence=sentence)
    return Choice(
        state="restore",
        possible=True,
        kept=0,
        converted=0,
        set_aside=count,
        sentence=f"{snapshot.snapshot}, taken {snapshot.taken_at:%Y-%m-%d %H:%M} UTC, is put back. What was written since is offered to {target}, "
        "and what that does not take in is kept and can be exported.",
    )


def _names(usable: Sequence[SavedState]) -> str:
    names = ", ".join(saved.snapshot for saved in usable)
    return f"Usable: {names}." if names else "There is none that could be used."
