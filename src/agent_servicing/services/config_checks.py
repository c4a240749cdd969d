"""Is a configuration allowed? By the schema of a version, and by ours for the reserved keys. Pure; used for patches and for upgrades.

Messages never repeat a value when the schema knows secrets: a wrong secret is still a secret.
"""

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Final, NoReturn

import jsonschema_rs

from agent_servicing.core.config.enforced import BURST_SECONDS_MAX, CPU_MIN, enforced
from agent_servicing.core.config.layers import DEPTH_MAX, RESERVED, Values, is_secret, properties, secret_keys
from agent_servicing.core.errors import FieldError, Invalid

MASKED: Final = "•••"

CHANGE_BYTES_MAX: Final = 256 * 1024
"""Largest change: configurations are read by people; data belongs into the agent's state."""

ERRORS_MAX: Final = 100
"""More problems than anybody reads at once."""

MESSAGE_CHARACTERS_MAX: Final = 300

VALUE_CHARACTERS_MAX: Final = 60
"""Longer values are not repeated in messages."""

RESERVED_SCHEMA: Final = json.dumps(
    {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "log_level": {"enum": ["DEBUG", "INFO", "WARNING", "ERROR"], "description": "Of the SDK's root logger."},
            "flags": {
                "type": "object",
                "description": "Feature flags, read through the SDK or OpenFeature.",
                "maxProperties": 1000,
                "propertyNames": {"pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"},
            },
            "rate_limit": {
                "type": "object",
                "description": "What the router lets through to all instances together.",
                "additionalProperties": False,
                "required": ["requests_per_second"],
                "properties": {
                    "requests_per_second": {"type": "number", "minimum": 0.01, "maximum": 10_000},
                    "burst": {"type": "integer", "minimum": 1, "maximum": 100_000},
                },
            },
            "resources": {
                "type": "object",
                "description": "What the runtime lets an instance use.",
                "additionalProperties": False,
                "properties": {
                    "memory_mb": {"type": "integer", "minimum": 16, "maximum": 16_777_216},
                    "cpu": {"type": "number", "minimum": CPU_MIN, "maximum": 1024},
                },
            },
            "request_timeout_seconds": {
                "type": "number",
                "minimum": 0.05,
                "maximum": 3600,
                "description": "504 when no answer began by then.",
            },
        },
    }
)
"""What may stand below `servicing`, described for people. Documented in docs/guides/configuration.md, which a test compares."""


def problems(schema: str | None, values: Values) -> list[FieldError]:
    """What this version's schema has against the whole configuration, reserved keys included; every problem with its dotted path.

    Raises Invalid `schema_invalid` when the schema itself cannot be used.
    """
    own = {key: value for key, value in values.items() if key != RESERVED}
    found = list(_against(schema, own, hint=True)) if schema else []
    reserved = values.get(RESERVED, {})
    wrong = [FieldError(path=_joined(RESERVED, e.path), message=e.message) for e in _against(RESERVED_SCHEMA, reserved, hint=False)]
    found += wrong or _together(reserved)
    return found[:ERRORS_MAX]


def _together(reserved: object) -> list[FieldError]:
    """What a schema cannot say: values that are right by themselves and not with one another."""
    limit = enforced(reserved).rate_limit if isinstance(reserved, Mapping) else None
    if limit is None or limit.burst <= limit.requests_per_second * BURST_SECONDS_MAX:
        return []
    most = int(limit.requests_per_second * BURST_SECONDS_MAX)
    message = f"{limit.burst} is more than comes back within {BURST_SECONDS_MAX} s at this rate; at most {most}"
    return [FieldError(path=f"{RESERVED}.rate_limit.burst", message=message)]


def check_change(change: Values) -> None:
    """Whether this can be a change at all, before anything is looked up. Raises Invalid `empty_patch`, `patch_too_large`, `bad_value`."""
    if not change:
        error = FieldError(path="config_updates", message="must name at least one key")
        raise Invalid("There is nothing to change.", errors=(error,), code="empty_patch")
    try:
        text = json.dumps(change, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        problem = FieldError(path="config_updates", message="must hold only what JSON can say, no NaN and no infinity")
        raise Invalid("The change is no JSON.", errors=(problem,), code="bad_value") from error
    if len(text.encode()) > CHANGE_BYTES_MAX:
        problem = FieldError(path="config_updates", message=f"at most {CHANGE_BYTES_MAX // 1024} KiB")
        raise Invalid("The change is too large.", errors=(problem,), code="patch_too_large")
    if _depth(change) > DEPTH_MAX:
        problem = FieldError(path="config_updates", message=f"must not be nested more than {DEPTH_MAX} deep")
        raise Invalid("The change is nested too deeply.", errors=(problem,), code="bad_value")


def check_schema(schema: str, version: str) -> None:
    """Raises Invalid `schema_invalid` when nothing can be checked with it."""
    _validator(schema, version)


def _against(schema: str, values: object, *, hint: bool) -> Iterator[FieldError]:
    hidden = secret_keys(schema)
    for error in _validator(schema, "").iter_errors(_plain(values)):
        path = ".".join(str(part) for part in error.instance_path)
        kind = error.kind
        if isinstance(kind, jsonschema_rs.ValidationErrorKind.AdditionalProperties):
            for name in kind.unexpected:
                yield FieldError(path=_joined(path, name), message=_unknown(schema, _joined(path, name), name, hint=hint))
        elif isinstance(kind, jsonschema_rs.ValidationErrorKind.Required):
            yield FieldError(path=_joined(path, str(kind.property)), message="is missing and has no default")
        elif not is_secret(_at(values, error.instance_path)):
            yield FieldError(path=path, message=_shown(error, masked=path in hidden)[:MESSAGE_CHARACTERS_MAX])


def _at(values: object, path: list[str | int]) -> object:
    """What a reference stands for is not looked at: it was checked when it was taken in, if it was meant for this key."""
    for part in path:
        inside = isinstance(values, Mapping) or (isinstance(values, list | tuple) and isinstance(part, int))
        values = values[part] if inside else None  # type: ignore[index]
    return values


def _shown(error: jsonschema_rs.ValidationError, *, masked: bool) -> str:
    """The message with the value itself in it, where that is a short one that everybody may see."""
    value = json.dumps(error.instance, ensure_ascii=False)
    plain = not masked and not isinstance(error.instance, dict | list) and len(value) <= VALUE_CHARACTERS_MAX
    return error.message.replace(MASKED, value if plain else "the value")


def _unknown(schema: str, path: str, name: str, *, hint: bool) -> str:
    known = [*properties(schema)]
    close = get_close_matches(path, known, n=1)
    inside = properties(RESERVED_SCHEMA)
    if hint and name in inside:
        return f"is no key of this version's configuration; the runtime's own is {RESERVED}.{name}"
    allowed = f"; did you mean {close[0]}?" if close else f"; allowed: {', '.join(known[:20])}" if known else ""
    return f"is no key of this version's configuration{allowed}"


@lru_cache(maxsize=128)
def _validator(schema: str, version: str) -> jsonschema_rs.Draft202012Validator:
    what = f"The configuration schema of {version}" if version else "The configuration schema of this version"
    try:
        loaded = json.loads(schema)
        # Nothing is fetched: a schema comes with the version and must be whole.
        return jsonschema_rs.Draft202012Validator(loaded, mask=MASKED, retriever=_refuse)
    except (ValueError, RecursionError) as error:
        first = str(error).splitlines()[0][:MESSAGE_CHARACTERS_MAX] if str(error) else type(error).__name__
        hint = "Correct it in the agent's source and release a new version; until then its configuration cannot be changed."
        raise Invalid(f"{what} cannot be used: {first}.", hint=hint, code="schema_invalid") from error


def _refuse(uri: str) -> NoReturn:
    raise ValueError(f"it refers to {uri}, which is not part of it")


def _plain(value: object) -> object:
    """What the schema speaks about: a reference stands for a text."""
    if is_secret(value):
        return "secret"
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _depth(value: object) -> int:
    if isinstance(value, Mapping):
        return 1 + max((_depth(inner) for inner in value.values()), default=0)
    return 1 + max((_depth(inner) for inner in value), default=0) if isinstance(value, list) else 0


def _joined(prefix: str, name: str) -> str:
    return ".".join(part for part in (prefix, name) if part)
