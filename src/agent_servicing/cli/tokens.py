"""Commands on access tokens: `servicing token create|list|revoke`. `main` registers them."""

from datetime import UTC
from typing import Annotated

import typer

from agent_servicing.cli.exits import Usage
from agent_servicing.cli.output import table
from agent_servicing.cli.session import Session
from agent_servicing.cli.when import upcoming
from agent_servicing.cli.words import local

ROLES = ("viewer", "operator", "admin")


def create(
    session: Session,
    role: Annotated[str, typer.Option("--role", metavar="viewer|operator|admin", help="viewer reads, operator acts, admin manages access")],
    name: Annotated[str, typer.Option("--name", help="Whose it is; the audit trail shows it as the operator")] = "",
    agents: Annotated[list[str] | None, typer.Option("--agent", metavar="AGENT", help="Only this agent; repeat for more")] = None,
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="TIME", help='2026-07-01T00:00:00Z or "in 90 days"; omitted: never')
    ] = None,
) -> None:
    """Make an access token. It is shown this once; only its hash is kept."""
    if role not in ROLES:
        raise Usage(f"--role is one of {', '.join(ROLES)}, not {role!r}.")
    body: dict[str, object] = {"name": name or session.surroundings.ids.new(role), "role": role}
    if agents:
        body["agents"] = list(agents)
    if expires:
        body["expires_at"] = upcoming(expires, session.surroundings.clock.now()).astimezone(UTC).isoformat()
    made = session.api.create_token(body)
    if session.out.machine:
        session.out.json(made)
        return
    session.out.line(str(made.get("token", "")))
    session.out.note(f"Token {body['name']} with role {role}. Keep it now: it is not shown again.")


def list_tokens(session: Session) -> None:
    """All tokens, without their secrets."""
    tokens = session.api.tokens()
    columns = ("id", "name", "role", "agents", "created", "expires", "last used", "revoked")
    rows = [
        (
            t.get("token_id"),
            t.get("name"),
            t.get("role"),
            ", ".join(t.get("agents") or ()) or "all",
            local(t.get("created_at")),
            local(t.get("expires_at")) or "never",
            local(t.get("last_used_at")) or "never",
            local(t.get("revoked_at")),
        )
        for t in tokens
    ]
    session.out.result({"tokens": tokens}, lambda: table(columns, rows))


def revoke(session: Session, token_id: Annotated[str, typer.Argument(metavar="TOKEN_ID", help="From `servicing token list`")]) -> None:
    """Make a token useless at once."""
    session.api.revoke_token(token_id)
    session.out.result({"token_id": token_id, "revoked": True}, lambda: f"{token_id} is revoked.")
