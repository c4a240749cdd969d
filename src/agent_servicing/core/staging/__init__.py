"""Staging runs: a version tried on instances of its own before it gets traffic. Read by the service, led by `reconcile.staging`."""
