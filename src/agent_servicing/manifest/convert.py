"""Between the file's tables and the core's values, both ways. `load_manifest` and `dump_manifest` call it; no checks here."""

from collections.abc import Mapping

from agent_servicing.core.manifest import (
    ConfigSpec,
    ConversationKey,
    Conversations,
    Drain,
    GoldenRequest,
    Health,
    Manifest,
    Run,
    Source,
    SourceKind,
    StateSpec,
    StateStore,
    TestRequest,
    Tests,
    UpgradeNotes,
)
from agent_servicing.manifest.schema import ManifestFile, RecallTable, SourceTable, TestsTable

_SOURCE_KINDS: tuple[SourceKind, ...] = ("git", "pypi", "path", "image")


def to_core(file: ManifestFile, text: str) -> Manifest:
    """The checked file as the value the core reads; `text` is kept as it was written."""
    run, config, upgrade = file.run, file.config, file.upgrade
    return Manifest(
        agent=file.agent.id,
        description=file.agent.description,
        owner=file.agent.owner,
        source=_source(file.source),
        run=Run(
            runtime=run.runtime,
            command=tuple(run.command),
            install=None if run.install is None else tuple(run.install),
            instances=run.instances,
            env=dict(run.env),
            memory_mb=run.resources.memory_mb,
            cpu=run.resources.cpu,
        ),
        health=Health(**file.health.model_dump()),
        conversation_key=_conversation_key(file.routing.conversation_key),
        conversations=Conversations(on_promote=file.routing.on_promote, on_rollback=file.routing.on_rollback),
        drain=Drain(**file.drain.model_dump()),
        config=ConfigSpec(schema=config.schema_, defaults=dict(config.defaults), reload=config.reload, file=config.file),
        state=StateSpec(
            directory=file.state.directory,
            writes=file.state.writes,
            reads=tuple(file.state.reads),
            converts=tuple(file.state.converts),
            stores=tuple(StateStore(kind=store.kind, path=store.path or ".", records=tuple(store.records)) for store in file.state.stores),
        ),
        tests=_tests(file.tests),
        upgrade=UpgradeNotes(
            from_range=upgrade.from_,
            breaking=tuple(upgrade.breaking),
            migration_notes=upgrade.migration_notes,
            security=upgrade.security,
            critical=upgrade.critical,
            approval_deadline_seconds=upgrade.approval_deadline_seconds,
        ),
        text=text,
    )


def to_file(manifest: Manifest) -> dict[str, object]:
    """The value as the file's tables, plain JSON values, every default written out and what is unset left out."""
    run, config, state, tests, upgrade = manifest.run, manifest.config, manifest.state, manifest.tests, manifest.upgrade
    return {
        "agent": {"id": manifest.agent, "description": manifest.description, "owner": manifest.owner},
        "source": {manifest.source.kind: manifest.source.location},
        "run": _set(
            runtime=run.runtime,
            command=list(run.command),
            install=None if run.install is None else list(run.install),
            instances=run.instances,
            env=dict(run.env),
            resources=_set(memory_mb=run.memory_mb, cpu=run.cpu),
        ),
        "health": _set(
            path=manifest.health.path,
            startup_timeout_seconds=manifest.health.startup_timeout_seconds,
            interval_seconds=manifest.health.interval_seconds,
            healthy_after=manifest.health.healthy_after,
            unhealthy_after=manifest.health.unhealthy_after,
        ),
        "routing": _set(
            conversation_key=None if manifest.conversation_key is None else str(manifest.conversation_key),
            on_promote=manifest.conversations.on_promote,
            on_rollback=manifest.conversations.on_rollback,
        ),
        "drain": {
            "timeout_seconds": manifest.drain.timeout_seconds,
            "stream_timeout_seconds": manifest.drain.stream_timeout_seconds,
            "conversation_timeout_seconds": manifest.drain.conversation_timeout_seconds,
        },
        "config": _set(schema=config.schema, defaults=dict(config.defaults), reload=config.reload, file=config.file),
        "state": _state(state),
        "tests": _set(
            smoke=None if tests.smoke is None else list(tests.smoke),
            integration=None if tests.integration is None else list(tests.integration),
            requests=[_request(request) for request in tests.requests],
            recall=[_golden_table(request) for request in tests.recall] or None,
        ),
        "upgrade": {
            "from": upgrade.from_range,
            "breaking": list(upgrade.breaking),
            "migration_notes": upgrade.migration_notes,
            "security": upgrade.security,
            "critical": upgrade.critical,
            **_set(approval_deadline_seconds=upgrade.approval_deadline_seconds),
        },
    }


def _golden_table(request: GoldenRequest) -> dict[str, object]:
    return {
        **_set(name=request.name or None, json=request.json, expect_json=request.expect_json),
        "method": request.method,
        "path": request.path,
        "headers": dict(request.headers),
        "expect_status": request.expect_status,
    }


def _state(state: StateSpec) -> dict[str, object]:
    stores = [
        _set(kind=store.kind, path=None if store.kind == "http" else store.path, records=list(store.records) or None)
        for store in state.stores
    ]
    return _set(
        directory=state.directory,
        writes=state.writes,
        reads=list(state.reads),
        converts=list(state.converts) or None,
        stores=stores or None,
    )


def _set(**values: object) -> dict[str, object]:
    return {key: value for key, value in values.items() if value is not None}


def _request(request: TestRequest) -> Mapping[str, object]:
    return _set(
        method=request.method,
        path=request.path,
        headers=dict(request.headers),
        json=request.json,
        expect_status=request.expect_status,
    )


def _source(table: SourceTable) -> Source:
    named = {kind: location for kind in _SOURCE_KINDS if (location := getattr(table, kind)) is not None}
    ((kind, location),) = named.items()
    return Source(kind=kind, location=location)


def _conversation_key(text: str | None) -> ConversationKey | None:
    if text is None:
        return None
    kind, _, name = text.partition(":")
    match kind:
        case "header" | "cookie" | "query":
            return ConversationKey(kind=kind, name=name)
        case _:
            raise AssertionError(f"{text} passed the file's check")


def _tests(table: TestsTable) -> Tests:
    requests = tuple(
        TestRequest(method=r.method, path=r.path, headers=dict(r.headers), json=r.json_, expect_status=r.expect_status)
        for r in table.requests
    )
    return Tests(
        smoke=None if table.smoke is None else tuple(table.smoke),
        integration=None if table.integration is None else tuple(table.integration),
        requests=requests,
        recall=tuple(_golden(r) for r in table.recall),
    )


def _golden(r: RecallTable) -> GoldenRequest:
    return GoldenRequest(
        name=r.name,
        method=r.method,
        path=r.path,
        headers=dict(r.headers),
        json=r.json_,
        expect_status=r.expect_status,
        expect_json=r.expect_json,
    )
