"""Agent Servicing: upgrade, patch and roll back running AI agents with zero downtime."""

__version__ = "0.1.0"
