"""Structured logs, Prometheus metrics, and failpoints for crash tests."""
