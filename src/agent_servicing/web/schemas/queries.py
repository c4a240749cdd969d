"""Query parameters. An unknown one is an error: a misspelt filter must not silently select everything."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from agent_servicing.services.custom_patches import SUMMARY_CHARACTERS_MAX
from agent_servicing.services.fleet import LOG_LINES_MAX, WINDOW_SECONDS_MAX
from agent_servicing.services.fleet_views import AgentOrder
from agent_servicing.services.views import HealthWord
from agent_servicing.store.queries import ListState
from agent_servicing.web.limits import PAGE_DEFAULT, PAGE_MAX
from agent_servicing.web.schemas.common import Name, Text, Time

SEQ_MAX = 2**63 - 1
"""As large as a database's integers become."""


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PageQuery(Query):
    limit: int = Field(PAGE_DEFAULT, ge=1, le=PAGE_MAX, description="Most entries of this page")
    cursor: Name | None = Field(default=None, description="`next_cursor` of the page before")


class AgentsQuery(PageQuery):
    q: Text = Field(default="", description="Words that all stand in id, description or owner, in any case")
    health: HealthWord | None = None
    attention: bool = Field(
        default=False,
        description="Only what needs somebody: not whole, a pressing update, a withdrawn version, a deployment paused or gone wrong",
    )
    sort: AgentOrder = Field(default="agent_id", description="By id, worst health, most urgent update or newest deployment first")
    descending: bool = Field(default=False, description="The other way round")


class DeploymentsQuery(PageQuery):
    agent: Name | None = None
    state: ListState | None = Field(default=None, description="`open` is everything but `over`")


class LogsQuery(Query):
    instance: Name | None = Field(default=None, description="Only this one; omitted: all of the agent's")
    lines: int = Field(200, ge=1, le=LOG_LINES_MAX)


class MetricsQuery(Query):
    window: float = Field(60.0, ge=1, le=WINDOW_SECONDS_MAX, description="Seconds")


class ChangesQuery(Query):
    from_: Name = Field(alias="from", description="Version to come from")
    to: Name = Field(description="Version to go to")


class ReasonQuery(Query):
    reason: Text = Field(default="", description="Why; kept in the audit trail")


class RemoveVersionQuery(Query):
    reason: Text = Field(description="Why; kept in the audit trail")


class UploadQuery(Query):
    """What comes along with a file; as fields of a form, or as the query of a plain body."""

    base_version: Name | None = Field(default=None, description="What it was made on; omitted: the version that serves")
    reason: Text = Field(default="", description="Why; kept in the audit trail, and needed")
    summary: str = Field(default="", max_length=SUMMARY_CHARACTERS_MAX, description="What the version is; omitted: the reason")
    changelog: list[Text] = Field(default=[], description="Lines such as `fix: a leak`; may be repeated")
    security: bool = Field(default=False, description="It closes a security hole")
    critical: bool = Field(default=False, description="Nobody should stay on the base")
    file_name: Text = Field(default="", description="The file's name, with a plain body; a wheel needs its own")


class RemoveQuery(ReasonQuery):
    if_state: Name | None = Field(default=None, description="The agent's `status` the caller believes in")
    if_version: Name | None = Field(default=None, description="The agent's `current_version` the caller saw")


class AuditFilterQuery(Query):
    type: Name | None = Field(default=None, description="upgrade, rollback, install, restart, requested …")
    operator: Name | None = None
    since: Time | None = Field(default=None, description="This moment and later")
    until: Time | None = Field(default=None, description="Before this moment")
    status: Name | None = Field(default=None, description="success, rolled_back, cancelled, failed")
    says: Text | None = Field(
        default=None, description="Words that the reason holds, in any case. A page may then be short: go on with its cursor"
    )


class AgentAuditQuery(AuditFilterQuery, PageQuery):
    pass


class AuditQuery(AgentAuditQuery):
    agent: Name | None = None


class ExportQuery(AuditFilterQuery):
    agent: Name | None = None
    format: Annotated[Literal["csv", "json"], Field(description="csv for spreadsheets, json for programs")] = "csv"


class VerifyQuery(Query):
    entries: int | None = Field(default=None, ge=0, le=SEQ_MAX, description="Of an anchor that was kept elsewhere")
    head: str | None = Field(default=None, pattern="^[0-9a-f]{64}$", description="The anchor's hash")

    @model_validator(mode="after")
    def _both(self) -> "VerifyQuery":
        if (self.entries is None) != (self.head is None):
            raise ValueError("entries and head belong together: give both, or neither")
        return self
