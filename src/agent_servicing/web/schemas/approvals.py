"""Bodies and answers of approvals by a second person."""

from datetime import datetime

from pydantic import ConfigDict, Field

from agent_servicing.web.schemas.common import Body, Reason, Text, View, example


class ApprovalRuleBody(Body):
    model_config = ConfigDict(json_schema_extra=example(required=True, reason="It holds customers' memories"))

    required: bool
    reason: Text = ""


class ApprovalRuleView(View):
    model_config = ConfigDict(json_schema_extra=example(agent_id="WowMemory", required=True, set_by="admin", since="2026-01-02T02:00:00Z"))

    agent_id: str
    required: bool = Field(description="Upgrades wait for a second person, hot patches are refused")
    set_by: str | None
    since: datetime | None


class ApproveBody(Body):
    model_config = ConfigDict(json_schema_extra=example(reason="Read the changelog; fine"))

    reason: Text = ""
    override: bool = Field(default=False, description="Admins, in an emergency: also what one asked for oneself; needs a reason")


class RejectBody(Body):
    model_config = ConfigDict(json_schema_extra=example(reason="Not before the audit"))

    reason: Reason
