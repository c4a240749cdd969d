"""Alembic's folder: `env` connects, `versions` holds one file per step.

A new step is written by hand together with the change of `store.tables`; a test compares the two.
"""
