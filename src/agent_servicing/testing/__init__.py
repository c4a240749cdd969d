"""Shipped for tests of drivers, strategies and the engine: the smallest adapter of each port, a virtual clock, a traffic generator."""
