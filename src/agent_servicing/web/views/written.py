"""What was written since a snapshot, as a dictionary that the schemas take."""

from dataclasses import asdict

from agent_servicing.core.state import SetAsideState, Written


def written_fields(written: Written | None) -> dict[str, object] | None:
    return {**asdict(written), "records": written.records, "removed": written.removed} if written is not None else None


def set_aside_fields(state: SetAsideState) -> dict[str, object]:
    return {**asdict(state), "written": written_fields(state.written), "set_aside": state.set_aside}
