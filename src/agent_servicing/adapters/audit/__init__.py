"""Sinks for audit entries: files, syslog, webhooks."""
