"""What staging needs of the outside world besides the runtime: its rows, copies of the state, and somebody who runs the tests."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from agent_servicing.core.events import Event
from agent_servicing.core.manifest import TestRequest
from agent_servicing.core.model import AgentState, Process, Release
from agent_servicing.core.staging.compare import Pairs
from agent_servicing.core.staging.model import CaseResult, LoadStep, StagingRun, Suite, SuiteResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where one staging instance listens. `pid` leads its processes, where the runtime knows."""

    host: str
    port: int
    pid: int | None = None

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"


class StagingRuns(Protocol):
    """The rows. Only the one server that owns the database leads runs, so nothing here is leased."""

    async def pending(self) -> Sequence[StagingRun]:
        """Runs that are queued or running, or of which somebody wishes something; oldest first."""
        ...

    async def save(self, run: StagingRun, events: Sequence[Event] = (), *, done: Sequence[str] = ()) -> None:
        """Write the run as it is now and what happened, in one transaction; `done` are wishes that were taken in. A removed run is left so."""
        ...

    async def agent(self, run: StagingRun) -> tuple[AgentState, Release] | None:
        """The agent and the release under test; None when either is gone."""
        ...

    async def removed(self, agent: str) -> bool:
        """Whether there is no agent of that name any more."""
        ...


class StateCopies(Protocol):
    """Gives staging instances a state of their own."""

    async def copy(self, release: Release, *, key: str, epoch: int, exporters: Sequence[Process], targets: Mapping[int, Release]) -> str:
        """Copy the live state in `epoch` into the staging folders of these epochs; a note, empty when all of it was copied.

        Raises `PermanentError` (a full disk, a state that cannot be copied).
        """
        ...

    async def drop(self, agent: str, epochs: Mapping[int, Release]) -> None:
        """Delete these folders; those that are not there are fine."""
        ...


class SuiteRunner(Protocol):
    """Runs tests against staging addresses. Cancelling ends everything that was started. Never raises for what tests or agents do."""

    async def commands(
        self, release: Release, suite: Suite, *, url: str, key: str, timeout_seconds: float, case: CaseResult | None = None
    ) -> SuiteResult:
        """The manifest's command for this suite; `case`: only that one, as far as the command can be told."""
        ...

    async def recall(self, release: Release, *, url: str, key: str, case: CaseResult | None = None) -> SuiteResult:
        """Every golden request once, in order; `case`: only that one."""
        ...

    async def compare(
        self, old: Address, new: Address, requests: Sequence[TestRequest], *, key: str, budget_seconds: float
    ) -> Sequence[Pairs]:
        """The same requests to both, side by side, which of them first by lot. Raises `PermanentError` when that could not be carried out."""
        ...

    async def load(self, address: Address, requests: Sequence[TestRequest], *, key: str, rates: Sequence[float]) -> Sequence[LoadStep]:
        """Requests at each of these rates, whether answers come or not; the first rate that was not held is the last. Raises `PermanentError`."""
        ...
