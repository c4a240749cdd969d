"""Runs the tests of a staging run: commands, golden requests, the comparison of two versions, and load."""
