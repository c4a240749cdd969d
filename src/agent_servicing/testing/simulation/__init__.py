"""The simulator: the real engine in a world of memory, on a virtual clock, with everything that can go wrong; one seed is one story.

`run.simulate(seed, strategy)` plays a story and raises `Violation` when a law of `invariants` was broken. Tests, `make sim` and
`benchmarks/bench_simulation.py` use it; authors of strategies inherit it, because stories draw from the registry of strategies.
"""
