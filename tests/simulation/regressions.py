"""Seeds that once broke a law, with the strategy they were played with. Drawn anew whenever stories change; a seed is only as old as they are."""

REGRESSIONS: tuple[tuple[int, str], ...] = ()
