"""Decide whether a request may become work, and record that: for the HTTP API and the dashboard."""
