"""Commands that run on the server's machine: `servicing serve|stop|demo|open`. They build `Settings` and hand over to `bootstrap` or the demo."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from agent_servicing import __version__
from agent_servicing.cli.discovery import alive, data_dirs, read_server_file
from agent_servicing.cli.exits import Usage
from agent_servicing.cli.output import facts
from agent_servicing.cli.session import Session
from agent_servicing.core.errors import FieldError, Invalid

if TYPE_CHECKING:
    from agent_servicing.bootstrap import App
    from agent_servicing.settings import Settings

DEMO_DATA_DIR = Path("demo-data")
SIGN_IN_PAGE = "/sign-in"

Host = Annotated[
    str | None, typer.Option("--host", metavar="ADDRESS", help="Address of API and page [default: 127.0.0.1]", show_default=False)
]
Port = Annotated[int | None, typer.Option("--port", help="Port of API and page; 0 picks a free one [default: 8700]", show_default=False)]
RouterHost = Annotated[
    str | None, typer.Option("--router-host", metavar="ADDRESS", help="Address on which agents are reached [default: 127.0.0.1]")
]
RouterPort = Annotated[
    int | None, typer.Option("--router-port", help="Port on which agents are reached; 0 picks a free one [default: 8800]")
]
DatabaseUrl = Annotated[
    str | None, typer.Option("--database-url", metavar="URL", help="postgresql://… [default: SQLite in the data directory]")
]
TlsCert = Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate in PEM: API and page over TLS")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key in PEM")]
LogFormat = Annotated[
    str | None, typer.Option("--log-format", metavar="text|json", help="text for people, json for a log collector [default: text]")
]
LogLevel = Annotated[str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error [default: info]")]


def serve(
    session: Session,
    host: Host = None,
    port: Port = None,
    router_host: RouterHost = None,
    router_port: RouterPort = None,
    database_url: DatabaseUrl = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
) -> None:
    """Run the server, its engine and the data plane until Ctrl-C. Agents and data plane go on without it; the next start adopts them.

    Every option is also a variable SERVICING_… and a line in servicing.toml; docs/guides/settings.md has the others.
    """
    settings = settings_from(
        data_dir=session.options.data_dir,
        host=host,
        port=port,
        router_host=router_host,
        router_port=router_port,
        database_url=database_url,
        tls_cert=tls_cert,
        tls_key=tls_key,
        log_format=log_format or ("json" if session.options.json else None),
        log_level=log_level,
    )
    from agent_servicing.bootstrap import serve as run  # noqa: PLC0415  the whole server: only for whoever starts one

    run(settings, ready=lambda app, api_url: _announce(session, settings, api_url, app))


def stop(
    session: Session,
    everything: Annotated[bool, typer.Option("--all", help="Also stop the agents and the data plane")] = False,
) -> None:
    """Stop the server; agents go on serving unless --all is given."""
    data_dir = _used_data_dir(session)
    ended: list[str] = []
    if data_dir is not None:
        from agent_servicing.bootstrap import stop as run  # noqa: PLC0415  as above

        ended = run(settings_from(data_dir=data_dir), everything=everything)
    rest = " Agents go on serving; --all stops them too." if ended and not everything else ""
    words = f"Stopped: {', '.join(ended)}.{rest}" if ended else f"Nothing runs on {data_dir}." if data_dir else "Nothing runs here."
    session.out.result({"data_dir": str(data_dir) if data_dir else None, "stopped": ended}, lambda: words)


def _announce(session: Session, settings: "Settings", api_url: str, app: "App") -> None:
    """What an operator wants to know once everything answers."""
    router_url = app.router_url
    sign_in = (
        ("first admin", f"{api_url}{SIGN_IN_PAGE}, with the set-up token in {settings.data_dir / 'setup.token'}")
        if app.setup_token
        else ("sign in", f"{api_url}{SIGN_IN_PAGE}, or `servicing open`")
    )
    found = {"api_url": api_url, "router_url": router_url, "pid": os.getpid(), "version": __version__, "data_dir": str(settings.data_dir)}
    session.out.result(
        found,
        lambda: facts(
            (
                ("ready", f"{api_url}/"),
                sign_in,
                ("agents at", f"{router_url}/AGENT/"),
                ("data", settings.data_dir),
                ("end it", "Ctrl-C; agents and data plane go on, `servicing stop --all` ends them"),
            )
        ),
    )


def _used_data_dir(session: Session) -> Path | None:
    """The data directory that a server runs on, else the first there is."""
    around = session.surroundings
    existing = [d for d in data_dirs(session.options, around.environ, around.folder) if d.is_dir()]
    running = [d for d in existing if (found := read_server_file(d)) is not None and alive(found.pid)]
    return next(iter((*running, *existing)), None)


def demo(
    session: Session,
    quick: Annotated[bool, typer.Option("--quick", help="Stages last seconds instead of half a minute")] = False,
    once: Annotated[bool, typer.Option("--once", help="End after both upgrades; exit code 1 unless they went as told")] = False,
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete what an earlier demo left and start over")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave agents and data plane running at the end")] = False,
    host: Host = None,
    port: Port = None,
    router_port: RouterPort = None,
) -> None:
    """Run a server with four sample agents under live traffic, show a good and a bad upgrade, and keep serving until Ctrl-C.

    Everything it makes is in the data directory [default: ./demo-data]; started again it goes on from there.
    """
    session.out.say("Starting the demo: server, data plane, four sample agents …")
    settings = settings_from(data_dir=session.options.data_dir or DEMO_DATA_DIR, host=host, port=port, router_port=router_port)
    from agent_servicing.cli.demo import Choices, run  # noqa: PLC0415  as above

    named = {"port_named": port is not None, "router_port_named": router_port is not None}
    run(session, settings, Choices(quick=quick, once=once, fresh=fresh, keep=keep, **named))


def open_page(session: Session) -> None:
    """Print the address of the web page, with a one-time sign-in that is good for 15 minutes."""
    made = session.api.own_link()
    url = f"{session.target.url}{SIGN_IN_PAGE}#{made.get('sign_in_token')}"
    session.out.result({"url": url, "expires_at": made.get("expires_at")}, lambda: url)


def settings_from(**given: Any) -> "Settings":
    """Settings with the given values (None: not given) over environment, servicing.toml and defaults. Raises Invalid naming each wrong one."""
    import tomllib  # noqa: PLC0415  only here

    from pydantic import ValidationError  # noqa: PLC0415  half a second at import
    from pydantic_settings import SettingsError  # noqa: PLC0415

    from agent_servicing.settings import Settings  # noqa: PLC0415

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as e:
        errors = [FieldError(path=".".join(map(str, x["loc"])), message=x["msg"]) for x in e.errors()]
        raise Invalid(
            "These settings are not possible.", errors=errors, hint="Options, SERVICING_… variables and servicing.toml are read."
        ) from e
    except (SettingsError, tomllib.TOMLDecodeError) as e:
        raise Usage(f"servicing.toml or a SERVICING_… variable cannot be read: {e}.") from e
