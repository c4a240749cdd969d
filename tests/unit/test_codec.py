"""Every value comes back from the column it is kept in exactly as it went there."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import get_args

from hypothesis import given, settings
from hypothesis import strategies as st

from agent_servicing.core import manifest as declared
from agent_servicing.core.manifest import Manifest
from agent_servicing.core.model import Agent, Deployment, Generation, Instance
from agent_servicing.store import codec
from agent_servicing.store.codec import AgentBody, VersionBody
from tests.store_builders import an_agent

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
st.register_type_strategy(datetime, st.datetimes(timezones=st.just(UTC)))
st.register_type_strategy(Mapping, lambda kind: st.dictionaries(*(st.from_type(part) for part in get_args(kind)), max_size=3))
st.register_type_strategy(float, st.floats(allow_nan=False, allow_infinity=False))

requests = st.lists(st.builds(declared.TestRequest, json=json_values), max_size=2).map(tuple)
manifests = st.builds(
    Manifest,
    config=st.builds(declared.ConfigSpec, defaults=st.dictionaries(st.text(), json_values, max_size=3)),
    tests=st.builds(declared.Tests, requests=requests),
)
agents = st.builds(
    lambda manifest, redirects, share: replace(an_agent(), manifest=manifest, redirects=redirects, share=share),
    manifests,
    st.dictionaries(st.integers(0), st.integers(0), max_size=3),
    st.floats(0, 100),
)


@settings(max_examples=60, deadline=None)
@given(st.from_type(Deployment))
def test_a_deployment_comes_back(deployment: Deployment) -> None:
    assert codec.decode_deployment(codec.encode_deployment(deployment)) == deployment


@settings(max_examples=60, deadline=None)
@given(manifests)
def test_a_manifest_comes_back(manifest: Manifest) -> None:
    assert codec.decode_manifest(codec.encode_manifest(manifest)) == manifest


@settings(max_examples=60, deadline=None)
@given(agents, st.lists(st.from_type(Generation), max_size=2), st.lists(st.from_type(Instance), max_size=2))
def test_an_agent_comes_back(agent: Agent, generations: list[Generation], instances: list[Instance]) -> None:
    body = AgentBody(agent=agent, generations=tuple(generations), instances=tuple(instances))
    assert codec.decode_agent(codec.encode_agent(body)) == body


@settings(max_examples=60, deadline=None)
@given(st.from_type(VersionBody))
def test_what_a_source_says_comes_back(body: VersionBody) -> None:
    assert codec.decode_version(codec.encode_version(body)) == body
