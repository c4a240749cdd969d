"""`make sim`: search seeds for a broken law with every core, or play one seed again and print what happened.

python -m agent_servicing.testing.simulation --seeds 100000 [--first 0] [--strategy rolling] [--snapshots] [--patches]
python -m agent_servicing.testing.simulation --seed 4711 [--strategy rolling]

Exit status 1 when a law was broken; the last line is the command that shows it again.
"""

import argparse
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice

from agent_servicing.testing.simulation.run import Outcome, play_all, verdict

CHUNK = 20
"""Stories per task: a few seconds, so that a search stops soon after its first find."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="make sim", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seed", type=int, help="play this one and print its timeline")
    parser.add_argument("--seeds", type=int, default=1000, help="how many to search")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--strategy", default=None, help="of most upgrades; the strategies take turns when none is named")
    parser.add_argument("--snapshots", action="store_true", help="every upgrade copies the state, rollbacks put it back or convert")
    parser.add_argument("--patches", action="store_true", help="configurations are changed as well")
    options = parser.parse_args(arguments)
    play = partial(play_all, strategy=options.strategy, snapshots=options.snapshots, patches=options.patches)
    if options.seed is not None:
        (outcome,) = play(range(options.seed, options.seed + 1))
        sys.stdout.write("\n".join(outcome.timeline) + "\n")
        return _report(outcome)
    return _search(options.first, options.seeds, play)


def _search(first: int, seeds: int, play: partial[list[Outcome]]) -> int:
    done = deployments = kills = 0
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for outcomes in _in_order(pool, play, first, seeds):
            for outcome in outcomes:
                done, deployments, kills = done + 1, deployments + outcome.deployments, kills + outcome.kills
                if outcome.breach is not None:
                    pool.shutdown(wait=False, cancel_futures=True)
                    return _report(outcome)
            sys.stdout.write(f"\r{done} of {seeds} stories, {deployments} deployments, {kills} engines killed, no law broken")
            sys.stdout.flush()
    sys.stdout.write("\n")
    return 0


def _in_order(pool: ProcessPoolExecutor, work: partial[list[Outcome]], first: int, seeds: int) -> Iterator[list[Outcome]]:
    """Few tasks at a time: a long search is no long list."""
    chunks = (range(at, min(at + CHUNK, first + seeds)) for at in range(first, first + seeds, CHUNK))
    waiting = [pool.submit(work, chunk) for chunk in islice(chunks, 4)]
    while waiting:
        yield waiting.pop(0).result()
        waiting += [pool.submit(work, chunk) for chunk in islice(chunks, 1)]


def _report(outcome: Outcome) -> int:
    sys.stdout.write(f"\n{verdict(outcome)}\n")
    return 1 if outcome.breach is not None else 0


if __name__ == "__main__":
    sys.exit(main())
