"""Seeds that once broke a law, with the strategy they were played with. Drawn anew whenever stories change; a seed is only as old as they are."""

REGRESSIONS: tuple[tuple[int, str], ...] = (
    (83, "rolling"),  # the last healthy instance drained and was let go
    (111, "blue-green"),  # two instances in one place for ever
    (121, "canary"),  # a paused rollback kept the next one waiting
    (13, "blue-green"),  # an action was begun after the clock was set and the lease another's
    (11, "canary"),  # a rollback waited for as long as the clock had been set back by
    (24, "rolling"),  # a watch did, too
    (376, "rolling"),  # a start that somebody cancelled ended once more as missed
    (31, "rolling"),  # an orphan that ignored its signal stayed for ever
    (133, "canary"),  # conversations were sent on to a version that had been left
)
