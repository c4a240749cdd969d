"""Leads staging runs: rows with a status, looked at again and again."""
