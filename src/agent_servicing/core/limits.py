"""Named limits of the engine's decisions. Settings that an operator may turn come in through `Limits`; the rest stands here with its reason."""

from dataclasses import dataclass
from typing import Final

CRASH_WINDOW_SECONDS: Final = 300.0
"""Crashes older than this are forgotten; a process that stayed up for five minutes has recovered."""

CRASHES_OF_A_LOOP: Final = 5
"""So many crashes within the window are a crash loop: reported once, restarted on at the longest delay."""

CRASHES_KEPT: Final = 8
"""Crashes remembered per generation: enough for the delay to reach its longest."""

LONGEST_RESTART_DELAY_SECONDS: Final = 30.0
"""A dependency may come back any time, so even a crash loop is tried again twice a minute."""

WATCH_SLACK_SECONDS: Final = 5.0
"""A watch that is to hold for no time at all still needs a turn in which its last verdict is read."""

VERIFY_MIN_REQUESTS: Final = 30
"""Fewer requests say nothing about a share between 0 and 100 %."""

VERIFY_MIN_REQUESTS_WHOLE: Final = 5
"""For 0 and 100 % a few requests on the right side suffice: one on the wrong side would already speak against it."""

VERIFY_PATIENCE_SECONDS: Final = 5.0
"""An agent without enough traffic to measure goes on after this; the stage then says that the share was applied but not measured."""

VERIFY_PATIENCE_WHOLE_SECONDS: Final = 2.0
"""The same for 0 and 100 %, shorter because a rollback waits for it."""

VERIFY_PATIENCE_BATCH_SECONDS: Final = 1.0
"""The same between batches: what is moved there is little, there are many of them, and the last one is measured as any other."""

SHARE_TOLERANCE_POINTS: Final = 2.0
"""Measured and asked share may differ by so many points, or by four standard deviations where that is more."""

COUNTERS_STALE_SECONDS: Final = 10.0
"""A verdict on counters older than this lets nothing pass; a reading is due every second."""

REPLACED_MAX: Final = 1
"""So many instances that alone are bad are replaced in one deployment; then it is the version."""

LAUNCH_SLACK_SECONDS: Final = 30.0
"""Added to the install and start-up limits a manifest names, for queueing on a busy machine."""

SHIFT_DEADLINE_SECONDS: Final = 60.0
"""A shift takes a second; one that is not in force after a minute never will be."""

TESTS_DEADLINE_SECONDS: Final = 1_200.0
"""Time for a version's own tests and requests; their driver has shorter limits of its own and says which was reached."""

SNAPSHOT_DEADLINE_SECONDS: Final = 3_600.0
"""Time for a copy of the state: the first one of a very large state takes minutes, later ones only what has changed."""

CONVERSION_PATIENCE_SECONDS: Final = 120.0
"""A rollback does not wait longer for a conversion by the version that is left; what is not converted by then stays as it is."""

SET_ASIDE_PATIENCE_SECONDS: Final = 30.0
"""How long the last count of what is set aside waits for instances that still end. They keep writing to a folder that is kept."""

COMMON_CAUSE_SECONDS: Final = 4 * 3600.0
"""While the old version fails too, a watch waits beyond its deadline: for so long, then somebody has to begin anew."""

RETIRE_DEADLINE_SECONDS: Final = 60.0
"""Time for the side that leaves to be taken out of the data plane."""

RETIRE_PATIENCE_SECONDS: Final = 10.0
"""Its new requests reach zero within one reading; counters that cannot be read for so long, or strays, hold nobody up."""

ZERO_SECONDS: Final = 0.5
"""How long a side that leaves must have had no new request."""

PAUSE_DEADLINE_SECONDS: Final = 24 * 3600.0
"""A pause forgotten for a day is taken back: every gate has a deadline."""

PLACE_RETRY_SECONDS: Final = 2.0
"""How often a deployment that waits for a free place among all agents' looks again."""

EVENT_TEXT_CHARACTERS: Final = 2_000
"""Longest output tail carried in an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The operator's part, from the settings (seconds)."""

    install_timeout_seconds: float = 600.0
    stop_grace_seconds: float = 10.0
    idle_interval_seconds: float = 1.0
