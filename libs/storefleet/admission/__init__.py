"""Admit or reject requests of the HTTP API and the dashboard, and record the admitted ones."""
