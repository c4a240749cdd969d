"""Puts the parts together and runs them. The only place that knows which adapter serves which port."""

from agent_servicing.bootstrap.app import App, open_app
from agent_servicing.bootstrap.serve import serve, stop

__all__ = ["App", "open_app", "serve", "stop"]
