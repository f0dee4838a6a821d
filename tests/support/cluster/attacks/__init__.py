"""Requests that a compromised service account could send, which the cluster must reject."""
