"""A schema file instead of a model, and the schema file of a model."""

import json
import subprocess
import sys
from pathlib import Path

import jsonschema_rs
import pytest

from servicing_sdk import Servicing
from servicing_sdk.schema import defaults_of
from servicing_sdk.surroundings import Surroundings

SCHEMA = {
    "type": "object",
    "properties": {
        "timeout_seconds": {"type": "number", "default": 30},
        "model": {"type": "string"},
        "retry": {"type": "object", "default": {"times": 3}, "properties": {"times": {"default": 1}, "wait_seconds": {"default": 2}}},
        "limits": {"type": "object", "properties": {"tokens": {"default": 100}}},
    },
}

MODEL = """
from pydantic import BaseModel, ConfigDict, Field


class Settings(BaseModel):
    timeout_seconds: float = Field(default=30, gt=0, json_schema_extra={"x-servicing-apply": "next-conversation"})
"""


@pytest.fixture
def schema(tmp_path: Path) -> Path:
    file = tmp_path / "config.schema.json"
    file.write_text(json.dumps(SCHEMA))
    return file


def test_without_a_server_the_defaults_of_the_schema_hold(schema: Path) -> None:
    servicing = Servicing(schema=schema, around=Surroundings())
    assert servicing.config == {"timeout_seconds": 30, "retry": {"times": 3, "wait_seconds": 2}, "limits": {"tokens": 100}}


def test_what_was_given_wins_over_the_schema_key_by_key(schema: Path, tmp_path: Path) -> None:
    given = tmp_path / "config.json"
    given.write_text('{"retry": {"wait_seconds": 9}, "model": "large"}')
    servicing = Servicing(schema=schema, around=Surroundings(token="t", revision="cfg-1", file=given))
    assert servicing.config["retry"] == {"times": 3, "wait_seconds": 9}
    assert servicing.config["model"] == "large"


def test_a_model_and_a_schema_together_are_refused(schema: Path) -> None:
    with pytest.raises(ValueError, match="either"):
        Servicing(config_model=dict, schema=schema, around=Surroundings())


@pytest.mark.parametrize(("text", "said"), [("{", "is no JSON"), ("[]", "is no JSON Schema of an object")])
def test_a_file_that_is_no_schema_is_said_to_be_none(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "broken.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=said):
        defaults_of(file)


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "servicing_sdk", *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_the_schema_of_a_model_is_written_for_the_manifest(tmp_path: Path) -> None:
    (tmp_path / "my_agent.py").write_text(MODEL)
    done = run(tmp_path, "schema", "my_agent:Settings")
    assert done.returncode == 0, done.stderr
    schema = json.loads(done.stdout)
    assert schema["properties"]["timeout_seconds"]["x-servicing-apply"] == "next-conversation"
    check = jsonschema_rs.Draft202012Validator(schema)
    assert [check.is_valid(each) for each in ({"timeout_seconds": 5}, {"timeout_seconds": 0}, {"timeout": 5})] == [True, False, False]


@pytest.mark.parametrize(("arguments", "code"), [((), 2), (("schema", "nothing"), 2), (("schema", "nothing:Settings"), 1)])
def test_what_cannot_be_written_is_said_in_one_line(tmp_path: Path, arguments: tuple[str, ...], code: int) -> None:
    done = run(tmp_path, *arguments)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (code, "", 1)
