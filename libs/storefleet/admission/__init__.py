"""Decide on requested work and record it: one code path for the HTTP API, the dashboard and messages."""
