"""Reports of deployments: made, kept, downloaded, and opened as issues where somebody said so. Called by `web`, and by a loop of the server.

A report is a row with a status: `kept`, or `sending` until a tracker took it (`opened`) or never will (`failed`). Before a second attempt the tracker
is searched for the first one's issue, should only the answer have been lost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final

import anyio
import structlog
from anyio import to_thread
from sqlalchemy.ext.asyncio import AsyncConnection

from agent_servicing.core.errors import Conflict, FieldError, Invalid, NotFound, PermanentError, ServicingError, TemporaryError
from agent_servicing.core.events import SYSTEM, Event
from agent_servicing.core.model import Deployment
from agent_servicing.core.notices import ISSUE_FAILED
from agent_servicing.core.outward import TrackerSettings, pause_seconds
from agent_servicing.core.status import DeploymentStatus
from agent_servicing.ports import Clock, Ids, Masker
from agent_servicing.ports.outward import Filing, Tracker
from agent_servicing.services.audit_logger import number_of
from agent_servicing.services.issue_bundle import Facts, build, default_title
from agent_servicing.services.issue_facts import FactFinder, software
from agent_servicing.services.issue_settings import IssueSettings
from agent_servicing.services.outward_settings import KEEPER
from agent_servicing.services.transaction import checked_reason, record, require_state
from agent_servicing.settings import Settings
from agent_servicing.store import issues as rows
from agent_servicing.store import queries
from agent_servicing.store.database import Database
from agent_servicing.store.issues import Issue

ISSUES_KEPT: Final = 200
"""Of all agents; older ones go, their entries in the audit stay."""

TITLE_CHARACTERS_MAX: Final = 200
WINDOW_SECONDS: Final = 3_600.0
WINDOW_RANGE: Final = (60.0, 24 * 3_600.0)
GIVE_UP_SECONDS: Final = 6 * 3_600.0
AT_ONCE: Final = 20
PROJECTS_TRIED: Final = 20
"""Of those that agents have of their own, when the tracker is tested: each is a question of up to ten seconds."""

TEST_SECONDS: Final = 30.0
"""For all of them together: whoever pressed the button waits for the answer, a page for no more than a minute."""

PAGE_MAX: Final = 200
LOOK_SECONDS: Final = 2.0

_ENDED_BADLY: Final = frozenset({DeploymentStatus.ROLLED_BACK, DeploymentStatus.FAILED})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRequest:
    """`deployment` None: the newest that ended badly, else the newest. `window_seconds`: how far back events and readings go."""

    deployment: str | None = None
    title: str = ""
    note: str = ""
    window_seconds: float = WINDOW_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerTest:
    """Whether the tracker could be used as it is set up. `problem` is empty when it could."""

    __test__ = False

    kind: str
    reached: bool
    problem: str
    duration_ms: float


class Issues:
    """Use cases on reports. Raises NotFound `unknown_agent`, `unknown_deployment`, `unknown_issue`."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        ids: Ids,
        settings: Settings,
        where: IssueSettings,
        facts: FactFinder,
        masker: Masker,
        tracker: Tracker,
    ) -> None:
        self._database, self._clock, self._ids, self._settings = database, clock, ids, settings
        self._where, self._facts, self._masker, self._tracker = where, facts, masker, tracker

    async def report(self, agent: str, request: IssueRequest, *, actor: str) -> Issue:
        """A new report, kept; on its way to the tracker when there is one. Raises Invalid `bad_value`, `reason_too_long`."""
        note = checked_reason(request.note)
        _check(request)
        now, name = self._clock.now(), self._ids.new("iss")
        deployment = await self._deployment(agent, request.deployment)
        parts = await self._facts.parts(agent, deployment, now, request.window_seconds)
        logs, missing = await self._facts.logs(agent, deployment)
        facts = Facts(
            issue=name,
            agent=agent,
            title=request.title.strip() or default_title(agent, deployment),
            note=note,
            actor=actor,
            at=now,
            window_seconds=request.window_seconds,
            deployment=deployment,
            parts=parts,
            logs=logs,
            missing=missing,
            software=software(),
        )
        bundle, summary = await to_thread.run_sync(build, facts, lambda text: self._masker.mask(agent, text))
        return await self._keep(facts, bundle, summary)

    async def list(self, agent: str, *, limit: int = 50, cursor: str | None = None) -> tuple[Sequence[Issue], str | None]:
        """Newest first, with the cursor of the next page. Raises Invalid `bad_limit`, `bad_cursor`."""
        if not 1 <= limit <= PAGE_MAX:
            raise Invalid(f"limit must be from 1 to {PAGE_MAX}.", code="bad_limit")
        before = number_of(cursor) if cursor is not None else None
        async with self._database.read() as connection:
            found = await rows.issue_page(connection, agent, before=before, limit=limit + 1)
        return found[:limit], str(found[limit - 1].number) if len(found) > limit else None

    async def get(self, agent: str, issue: str) -> Issue:
        async with self._database.read() as connection:
            return await _require(connection, agent, issue)

    async def bundle(self, agent: str, issue: str) -> bytes:
        """The zip."""
        async with self._database.read() as connection:
            await _require(connection, agent, issue)
            return await rows.bundle_of(connection, issue)

    async def send(self, agent: str, issue: str, *, actor: str) -> Issue:
        """Once more to the tracker that is set up now. Raises Conflict `no_tracker`, `wrong_state` for one that was opened already."""
        settings = await self._where.get()
        _require_tracker(settings)
        now = self._clock.now()
        async with self._database.write() as connection:
            found = await _require(connection, agent, issue)
            if found.status == "opened":
                raise Conflict(f"{issue} is open already, at {found.url or 'the webhook'}.", code="wrong_state")
            await rows.change_issue(connection, issue, status="sending", next_at=now, give_up_at=now + timedelta(seconds=GIVE_UP_SECONDS))
            data = {"issue_id": issue, "status": "requested"}
            await self._tell(connection, found, "issue_send_requested", actor=actor, data=data)
            return await _require(connection, agent, issue)

    async def test(self, *, actor: str) -> TrackerTest:
        """Ask the tracker that is set up now, for each project; nothing is opened. Raises Conflict `no_tracker`."""
        settings = await self._where.get()
        _require_tracker(settings)
        began = self._clock.monotonic()
        own = () if settings.kind == "webhook" else settings.projects.values()
        problem = await self._tried(settings, [*dict.fromkeys([settings.project, *own])][:PROJECTS_TRIED])
        took_ms = round((self._clock.monotonic() - began) * 1000, 1)
        async with self._database.write() as connection:
            data = {"status": "failed" if problem else "success", "kind": settings.kind, "project": settings.project, "problem": problem}
            event = Event(type="issue_tracker_tested", at=self._clock.now(), actor=actor, audit=True, data=data)
            await record(connection, self._ids, self._settings, event)
        return TrackerTest(kind=settings.kind, reached=not problem, problem=problem, duration_ms=took_ms)

    async def _tried(self, settings: TrackerSettings, projects: Sequence[str]) -> str:
        """The first problem, empty where there is none. What there was no time for is said not to have been tried."""
        until = self._clock.monotonic() + TEST_SECONDS
        for place, project in enumerate(projects):
            try:
                with anyio.fail_after(until - self._clock.monotonic()):
                    await self._tracker.check(settings, await self._where.token(settings), project)
            except TimeoutError:
                rest = f"; not tried: {', '.join(projects[place + 1 :])}" if projects[place + 1 :] else ""
                return f"{project or settings.kind}: no answer within the {TEST_SECONDS:g} s that there are for all projects{rest}"
            except (TemporaryError, PermanentError, ServicingError) as error:
                return self._masker.mask(KEEPER, f"{project}: {error}" if project else str(error))
        return ""

    async def run(self) -> None:
        """Send what is due until cancelled."""
        while True:
            try:
                await self.deliver()
            except (ServicingError, TemporaryError) as error:
                log.warning("issues_postponed", problem=str(error))
            except Exception:  # a fault of ours with a report must not end the server
                log.exception("issues_failed")
            await self._clock.sleep(LOOK_SECONDS)

    async def deliver(self) -> None:
        """Each report that is due is tried once."""
        async with self._database.read() as connection:
            due = await rows.due_issues(connection, self._clock.now(), limit=AT_ONCE)
        for issue in due:
            await self._deliver(issue)

    async def _deliver(self, issue: Issue) -> None:
        settings = await self._where.get()
        async with self._database.read() as connection:
            text = await rows.summary_of(connection, issue.issue)
        filing = Filing(
            key=issue.issue,
            agent=issue.agent,
            deployment=issue.deployment,
            title=issue.title,
            text=text,
            reporter=issue.actor,
            at=issue.at.isoformat().replace("+00:00", "Z"),
        )
        try:
            url = await self._open(settings, filing, again=issue.attempts > 0)
        except TemporaryError as error:
            await self._failed(issue, str(error), final=issue.give_up_at is not None and self._clock.now() >= issue.give_up_at)
        except PermanentError as error:
            await self._failed(issue, str(error), final=True)
        else:
            async with self._database.write() as connection:
                await rows.change_issue(
                    connection, issue.issue, status="opened", url=url, problem="", next_at=None, attempts=issue.attempts + 1
                )
                await self._tell(
                    connection, issue, "issue_opened", actor=SYSTEM, data={"issue_id": issue.issue, "url": url, "status": "success"}
                )

    async def _open(self, settings: TrackerSettings, filing: Filing, *, again: bool) -> str:
        token = await self._where.token(settings)
        found = await self._tracker.find(settings, token, filing) if again else None
        return found if found is not None else await self._tracker.open(settings, token, filing)

    async def _failed(self, issue: Issue, problem: str, *, final: bool) -> None:
        attempts = issue.attempts + 1
        problem = self._masker.mask(issue.agent, problem)
        next_at = None if final else self._clock.now() + timedelta(seconds=pause_seconds(attempts))
        async with self._database.write() as connection:
            status = "failed" if final else "sending"
            await rows.change_issue(connection, issue.issue, status=status, problem=problem, next_at=next_at, attempts=attempts)
            if final:
                data = {"issue_id": issue.issue, "problem": problem, "status": "failed"}
                await self._tell(connection, issue, ISSUE_FAILED, actor=SYSTEM, data=data)
        log.warning("issue_not_opened", issue=issue.issue, attempts=attempts, final=final, problem=problem)

    async def _keep(self, facts: Facts, bundle: bytes, summary: str) -> Issue:
        settings = await self._where.get()
        sending = settings.kind != "none"
        deployment = facts.deployment.deployment if facts.deployment is not None else None
        values: Mapping[str, object] = {
            "issue": facts.issue,
            "agent": facts.agent,
            "deployment": deployment,
            "title": self._masker.mask(facts.agent, facts.title)[:TITLE_CHARACTERS_MAX],
            "note": self._masker.mask(facts.agent, facts.note),
            "actor": facts.actor,
            "at": facts.at,
            "summary": summary,
            "bundle": bundle,
            "status": "sending" if sending else "kept",
            "next_at": facts.at if sending else None,
            "give_up_at": facts.at + timedelta(seconds=GIVE_UP_SECONDS) if sending else None,
        }
        async with self._database.write() as connection:
            issue = await rows.insert_issue(connection, values)
            await rows.prune_issues(connection, keep=ISSUES_KEPT)
            data = {
                "issue_id": issue.issue,
                "title": issue.title,
                "bundle_bytes": len(bundle),
                "tracker": settings.kind,
                "status": "success",
            }
            await self._tell(connection, replace(issue, deployment=deployment), "issue_reported", actor=facts.actor, data=data)
        return issue

    async def _deployment(self, agent: str, name: str | None) -> Deployment | None:
        async with self._database.read() as connection:
            await require_state(connection, agent)
            if name is None:
                page = [one for _, one in await queries.deployment_page(connection, of=[agent], before=None, limit=PAGE_MAX)]
                return next((one for one in page if one.status in _ENDED_BADLY), page[0] if page else None)
            found = await queries.deployment(connection, name)
        if found is None or found.agent != agent:
            raise NotFound(f"There is no deployment {name} of {agent}.", code="unknown_deployment")
        return found

    async def _tell(self, connection: AsyncConnection, issue: Issue, kind: str, *, actor: str, data: Mapping[str, object]) -> None:
        event = Event(
            type=kind,
            at=self._clock.now(),
            agent=issue.agent,
            deployment=issue.deployment,
            actor=actor,
            reason=issue.note if kind == "issue_reported" else "",
            audit=True,
            data=data,
        )
        await record(connection, self._ids, self._settings, event)


async def _require(connection: AsyncConnection, agent: str, issue: str) -> Issue:
    found = await rows.find_issue(connection, issue)
    if found is None or found.agent != agent:
        raise NotFound(f"There is no report {issue} of {agent}.", hint=f"The newest {ISSUES_KEPT} are kept.", code="unknown_issue")
    return found


def _require_tracker(settings: TrackerSettings) -> None:
    if settings.kind == "none":
        hint = "An admin sets one with PUT /api/platform/settings/issues."
        raise Conflict("There is no issue tracker.", hint=hint, code="no_tracker")


def _check(request: IssueRequest) -> None:
    low, high = WINDOW_RANGE
    if not low <= request.window_seconds <= high:
        error = FieldError(path="window_seconds", message=f"from {low:g} to {high:g}")
        raise Invalid(f"window_seconds must be from {low:g} to {high:g}.", errors=(error,), code="bad_value")
    if len(request.title) > TITLE_CHARACTERS_MAX or not request.title.isprintable():
        error = FieldError(path="title", message=f"one line of at most {TITLE_CHARACTERS_MAX} characters")
        raise Invalid(f"A title is one line of at most {TITLE_CHARACTERS_MAX} characters.", errors=(error,), code="bad_value")
