"""Seeds that once broke a law, with the strategy they were played with. Drawn anew whenever stories change; a seed is only as old as they are."""

REGRESSIONS: tuple[tuple[int, str], ...] = (
    (83, "rolling"),  # the last healthy instance drained and was let go
    (111, "blue-green"),  # two instances in one place for ever
    (121, "canary"),  # a paused rollback kept the next one waiting
)
