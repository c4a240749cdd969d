"""The agent's side of Agent Servicing. Start with `Servicing`; docs/guides/make-your-agent-patchable.md shows how, in five minutes."""

from servicing_sdk.configs import ConfigRejected
from servicing_sdk.servicing import Servicing

__all__ = ["ConfigRejected", "Servicing", "__version__"]

__version__ = "0.1.0"
