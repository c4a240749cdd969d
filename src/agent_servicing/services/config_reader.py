"""The configuration as it is: values, layers, revision, and how each instance stands. Called by `web`; asks nobody, changes nothing."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Final, Protocol

from agent_servicing.core.config.layers import RESERVED, effective, properties
from agent_servicing.core.config.report import ConfigReport, without_secrets
from agent_servicing.core.config.wanted import shown_name
from agent_servicing.ports import Clock, Masker
from agent_servicing.services.config_hotpatch import ConfigHotpatch
from agent_servicing.services.config_views import (
    ConfigView,
    config_keys,
    config_of,
    instance_configs,
    layers_in_force,
    shown_values,
    spec_of,
)
from agent_servicing.services.transaction import known_state
from agent_servicing.store.database import Database
from agent_servicing.store.known import KnownStates

STALE_SECONDS: Final = 45.0
"""An instance that reports every ten seconds and has been silent for so long is not known to have anything."""


class Known(Protocol):
    """What instances said last; the configuration channel has it."""

    async def known(self, agent: str) -> Mapping[str, ConfigReport]: ...


class ConfigReader:
    """Reads only. `known` None: nothing is known of instances. What these say is shown without secrets."""

    def __init__(
        self, *, database: Database, states: KnownStates, clock: Clock, hotpatch: ConfigHotpatch, known: Known | None, masker: Masker
    ) -> None:
        self._database, self._states, self._clock = database, states, clock
        self._hotpatch, self._known, self._masker = hotpatch, known, masker

    async def show(self, agent: str) -> ConfigView:
        """Raises NotFound `unknown_agent`."""
        state = await known_state(self._database, self._states, agent)
        async with self._database.glance() as connection:
            newest = await self._hotpatch.newest(connection, state)
        said = await self._known.known(agent) if self._known is not None else {}
        reports = {name: without_secrets(report, partial(self._masker.mask, agent)) for name, report in said.items()}
        spec, schema = spec_of(state, state.agent.version)
        layers = layers_in_force(state)
        return ConfigView(
            agent=agent,
            version=state.agent.version,
            config_version=shown_name(state.agent.version, config_of(state)),
            values=shown_values(spec, schema, layers),
            keys=config_keys(spec, schema, layers, properties(schema)),
            reload=spec.reload,
            schema=schema,
            overrides=[
                {"keys": sorted(override.values), "expires_at": override.expires_at, "reason": override.reason}
                for override in layers.overrides
            ],
            instances=instance_configs(state, reports, state.patch, _stale(reports, self._clock.now())),
            change=newest,
        )

    async def flags(self, agent: str) -> Mapping[str, object]:
        """The feature flags in force, by name. Raises NotFound `unknown_agent`."""
        state = await known_state(self._database, self._states, agent)
        spec, schema = spec_of(state, state.agent.version)
        runtime = effective(spec, schema, layers_in_force(state)).get(RESERVED)
        flags = runtime.get("flags") if isinstance(runtime, Mapping) else None
        return flags if isinstance(flags, Mapping) else {}


def _stale(reports: Mapping[str, ConfigReport], now: datetime) -> Mapping[str, bool]:
    """Only who reports by itself can fall silent."""
    return {
        name: report.level in ("sdk", "script") and (now - report.at).total_seconds() > STALE_SECONDS for name, report in reports.items()
    }
