"""Arguments and options that several commands share, in one wording."""

from typing import Annotated

import typer

from agent_servicing.cli.completion import complete_agents, complete_deployments

Agent = Annotated[str, typer.Argument(help="The agent's id", metavar="AGENT", autocompletion=complete_agents)]
Deployment = Annotated[str, typer.Argument(help="A deployment's id (upg-… or rbk-…)", metavar="ID", autocompletion=complete_deployments)]
Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; kept in the audit trail", show_default=False)]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it live until it has ended")]

STRATEGIES = ("blue-green", "canary", "rolling")
