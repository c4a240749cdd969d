"""The body that asks for a backup."""

from pydantic import ConfigDict, Field

from agent_servicing.web.schemas.common import Body, example


class BackupBody(Body):
    model_config = ConfigDict(json_schema_extra=example(with_key=False, with_state=True))

    with_key: bool = Field(default=False, description="Also the key that opens the secrets in it: whoever has the file then has them all")
    with_state: bool = Field(default=False, description="Also the copies of agents' states and what rollbacks set aside")
