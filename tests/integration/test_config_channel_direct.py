"""Configurations to instances that are not connected: with a signal, with a request, and by the contract under `/.well-known/servicing/`."""

from pathlib import Path

import pytest

from agent_servicing.core.actions import Goodbye
from agent_servicing.core.config.layers import text_of
from agent_servicing.core.errors import PermanentError, TemporaryError
from tests.integration.channel_world import FIRST, INSTANCE, SECOND, Safe, document, open_channel_world, read_lines
from tests.integration.process_world import AGENT

pytestmark = pytest.mark.anyio

WITH_SECRET = document("cfg-1.0.0-p2", api_key={"$secret": "openai", "version": 3}, timeout_seconds=60)


async def test_an_agent_with_a_signal_reads_its_new_file(tmp_path: Path) -> None:
    async with open_channel_world(tmp_path, "signal:HUP") as world:
        before = await world.reported(lambda report: report.applied)
        assert (before.applied, before.level, before.attempt) == (FIRST.key, "file", None)
        assert (await world.prepared(SECOND)).prepared == SECOND.key
        assert await world.runtime.read_config(AGENT, INSTANCE) == text_of(FIRST.values)
        after = await world.committed(SECOND)
        assert (after.applied, after.prepared, after.level) == (SECOND.key, None, "file")
        assert after.attempt is not None
        assert (after.attempt.result, after.attempt.revision) == ("applied", SECOND.revision)
        await world.printed(read_lines(SECOND.values))


async def test_an_agent_with_a_reload_address_reads_its_new_file(tmp_path: Path) -> None:
    async with open_channel_world(tmp_path, "http:/-/reload") as world:
        after = await world.committed(SECOND)
        assert (after.applied, after.level) == (SECOND.key, "file")
        assert read_lines(SECOND.values) in await world.lines()


async def test_a_reload_that_fails_is_no_application(tmp_path: Path) -> None:
    async with open_channel_world(tmp_path, "http:/-/reload", "reload-fails") as world:
        await world.reported(lambda report: report.applied)
        after = await world.committed(SECOND)
        assert after.applied == FIRST.key
        assert after.attempt is not None
        assert after.attempt.result == "failed"
        assert [problem.message for problem in after.attempt.problems] == ["POST /-/reload answered 500"]


async def test_a_full_disk_leaves_the_old_file_and_says_why(tmp_path: Path) -> None:
    async with open_channel_world(tmp_path, "signal:HUP") as world:
        await world.reported(lambda report: report.applied)
        full = FullDisk(world.runtime)
        world.channel._direct._files._runtime = full  # type: ignore[assignment]
        after = await world.committed(SECOND)
        assert after.applied == FIRST.key
        assert after.attempt is not None
        assert after.attempt.result == "failed"
        assert after.attempt.problems[0].message == "the disk is full"
        assert await world.runtime.read_config(AGENT, INSTANCE) == text_of(FIRST.values)


async def test_a_file_changed_behind_our_back_is_none_of_our_documents(tmp_path: Path) -> None:
    async with open_channel_world(tmp_path, "signal:HUP") as world:
        await world.runtime.write_config(AGENT, INSTANCE, '{"timeout_seconds": 1}\n')
        assert (await world.reported(lambda report: report.applied is not None)).applied == ""


async def test_an_agent_that_speaks_the_contract_is_asked_and_then_told(tmp_path: Path) -> None:
    third = document("cfg-1.0.0-p3", {"model": "restart"}, {"log_level": "DEBUG"}, model="large")
    async with open_channel_world(tmp_path, "sdk") as world:
        before = await world.reported(lambda report: report.applied)
        assert (before.applied, before.level, before.state) == (FIRST.key, "http", "ready")
        prepared = await world.prepared(third)
        assert (prepared.prepared, prepared.applied) == (third.key, FIRST.key)
        assert "committed" not in " ".join(await world.lines())
        after = await world.committed(third)
        assert (after.applied, after.prepared, dict(after.pending)) == (third.key, None, {"model": "restart"})
        assert 'committed cfg-1.0.0-p3 {"log_level": "DEBUG"}' in await world.lines()


async def test_an_agent_that_speaks_the_contract_is_told_that_it_leaves_or_serves_on_and_one_that_has_nothing_there_is_no_worse_off(
    tmp_path: Path,
) -> None:
    goodbye = Goodbye(seconds=12.5, reason="replaced")
    async with open_channel_world(tmp_path / "a", "sdk") as world:
        target = world.target(FIRST)
        for said in (goodbye, goodbye, None, None, goodbye):
            await world.channel.drain(target.manifest, target.process, said)
            await world.printed("serves on" if said is None else "ends in 12.5 replaced")
        await world.committed(SECOND)
        told = [line for line in await world.lines() if "ends in" in line or "serves on" in line]
        assert len(told) == 3, "the same word is said once"
    async with open_channel_world(tmp_path / "b", "sdk", "unprepared") as world:
        target = world.target(FIRST)
        await world.channel.drain(target.manifest, target.process, goodbye)
        assert (await world.committed(SECOND)).applied == SECOND.key


async def test_a_refusal_comes_with_bounded_reasons_without_the_secrets_in_them(tmp_path: Path) -> None:
    async with open_channel_world(tmp_path, "sdk", "refuses", safe=Safe("correct-horse")) as world:
        report = await world.prepared(WITH_SECRET)
        assert report.attempt is not None
        assert (report.attempt.result, report.prepared) == ("rejected", None)
        assert (report.attempt.revision, report.attempt.key) == (WITH_SECRET.revision, WITH_SECRET.key)
        assert len(report.attempt.problems) == 50
        assert report.attempt.problems[0].path == "timeout_seconds"
        assert report.attempt.problems[0].message == "too long  for •••"


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("lies", "it acknowledged another document"),
        ("floods", "POST /.well-known/servicing/config/prepare answered with more than 65536 bytes"),
        ("moves", "POST /.well-known/servicing/config/prepare answered 307"),
    ],
)
async def test_an_answer_that_is_none_is_a_failure(tmp_path: Path, how: str, reason: str) -> None:
    async with open_channel_world(tmp_path, "sdk", how) as world:
        report = await world.prepared(SECOND)
        assert report.attempt is not None
        assert (report.attempt.result, report.prepared) == ("failed", None)
        assert [problem.message for problem in report.attempt.problems] == [reason]


async def test_an_agent_that_hangs_is_not_waited_for_and_can_be_told_something_else(tmp_path: Path) -> None:
    async with open_channel_world(tmp_path, "sdk", "hangs") as world:
        await world.reported(lambda report: report.applied)
        await world.channel.prepare([world.target(SECOND)], deadline_seconds=1000)
        report = await world.report()
        assert report is not None
        assert (report.prepared, report.attempt) == (None, None)
        await world.channel.abort([world.target(SECOND)])
        assert (await world.committed(SECOND)).applied == SECOND.key


async def test_an_agent_that_dies_between_question_and_application_fails(tmp_path: Path) -> None:
    async with open_channel_world(tmp_path, "sdk", "dies") as world:
        assert (await world.prepared(SECOND)).prepared == SECOND.key
        report = await world.committed(SECOND)
        assert report.applied != SECOND.key
        assert report.attempt is not None
        assert report.attempt.result == "failed"


async def test_what_is_known_of_an_instance_is_forgotten_with_it(tmp_path: Path) -> None:
    async with open_channel_world(tmp_path, "sdk") as world:
        await world.reported(lambda report: report.applied)
        assert set(await world.channel.known(AGENT)) == {INSTANCE}
        await world.channel.forget(AGENT, INSTANCE)
        assert await world.channel.known(AGENT) == {}


async def test_secrets_are_filled_in_and_read_once_while_a_document_goes_out(tmp_path: Path) -> None:
    async with open_channel_world(tmp_path, "signal:HUP") as world:
        text = await world.channel.render(AGENT, WITH_SECRET)
        assert text == text_of({"api_key": "correct-horse", "timeout_seconds": 60})
        assert (await world.committed(WITH_SECRET)).applied == WITH_SECRET.key
        assert world.safe.asked == [("openai@3",)]
        await world.printed("correct-horse")
        assert "correct-horse" not in repr(await world.channel.known(AGENT))


async def test_a_document_with_a_secret_that_does_not_exist_is_refused_by_its_name(tmp_path: Path) -> None:
    lost = document("cfg-1.0.0-p4", deep=[{"key": {"$secret": "lost", "version": 1}}])
    async with open_channel_world(tmp_path, "sdk") as world:
        with pytest.raises(PermanentError, match="lost@1"):
            await world.channel.prepare([world.target(lost)], deadline_seconds=1)


class FullDisk:
    """The runtime, on a disk without room."""

    def __init__(self, runtime: object) -> None:
        self._runtime = runtime

    def __getattr__(self, name: str) -> object:
        return getattr(self._runtime, name)

    async def write_config(self, agent: str, instance: str, text: str) -> None:  # noqa: ARG002 (the port's)
        raise TemporaryError("the disk is full")
