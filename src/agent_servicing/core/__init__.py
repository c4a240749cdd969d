"""The pure core: what is, what is wanted, what to do next. Standard library only; no clock, no randomness, no I/O."""
