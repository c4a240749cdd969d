"""What is wrong with a manifest, in sentences: pydantic's findings in, `FieldError`s that say what is allowed out. `load_manifest` calls it."""

from collections.abc import Sequence
from difflib import get_close_matches
from typing import get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agent_servicing.core.errors import FieldError, Invalid

PROBLEMS_SHOWN = 50
"""How many problems of one file are told; after that the file is something else altogether."""

_SENTENCES = {
    "string_type": "must be text",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be a table",
    "model_type": "must be a table",
    "model_attributes_type": "must be a table",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than_equal": "must be at most {le:g}",
}


def invalid(origin: str, errors: Sequence[FieldError]) -> Invalid:
    """One error that names the file and every problem in it."""
    told = "; ".join(f"{error.path}: {error.message}" if error.path else error.message for error in errors[:PROBLEMS_SHOWN])
    return Invalid(f"{origin}: {told}", hint="docs/guides/manifest.md describes every key", errors=errors[:PROBLEMS_SHOWN])


def field_errors(found: ValidationError, model: type[BaseModel]) -> tuple[FieldError, ...]:
    """Every finding of `model`, with its dotted path as the author wrote it."""
    return tuple(_field_error(detail, model) for detail in found.errors(include_url=False))


def _field_error(detail: ErrorDetails, model: type[BaseModel]) -> FieldError:
    location = tuple(part for part in detail["loc"] if part != "[key]")
    path = ".".join(map(str, location))
    match detail["type"]:
        case "extra_forbidden":
            return FieldError(path=path, message=_unknown(path, str(location[-1]), _model_at(location[:-1], model)))
        case "missing":
            return FieldError(path=path, message="is required")
        case "servicing":
            return FieldError(path=path, message=detail["msg"])
        case kind if sentence := _SENTENCES.get(kind):
            return FieldError(path=path, message=f"{sentence.format(**detail.get('ctx', {}))}, not {_shown(detail['input'])}")
        case _:
            return FieldError(path=path, message=detail["msg"])


def _unknown(path: str, key: str, table: type[BaseModel]) -> str:
    allowed = [field.alias or name for name, field in table.model_fields.items()]
    close = get_close_matches(key, allowed, n=1)
    meant = f", did you mean {close[0]}?" if close else ""
    return f"unknown key {path}; allowed: {', '.join(allowed)}{meant}"


def _model_at(location: Sequence[int | str], model: type[BaseModel]) -> type[BaseModel]:
    """The table at this place; list indices stay within the table of the list's items."""
    for part in location:
        if isinstance(part, str):
            by_key = {field.alias or name: field for name, field in model.model_fields.items()}
            annotation = by_key[part].annotation
            model = next(kind for kind in (annotation, *get_args(annotation)) if isinstance(kind, type) and issubclass(kind, BaseModel))
    return model


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:59] + "…"
